#!/bin/sh
# Boots a kernel in QEMU and runs the C programs beside this script in it, one after the other.
#
#   reproduce.sh KERNEL [FILE.c ...]      KERNEL: a bzImage (x86-64) or an Image (arm64)
#
# Exit status: 0 the kernel behaves, 1 it does not (it crashed or hangs, too), 4 it lacks what a program needs, 69 it could not be
# tried.
# Needs gcc (gcc-aarch64-linux-gnu for an arm64 kernel), cpio and QEMU.
set -eu
kernel=${1:?usage: reproduce.sh KERNEL [FILE.c ...]}
shift
cd_to=$(dirname "$0")
[ $# -gt 0 ] || set -- $(ls "$cd_to"/*.c | grep -v -e /init.c -e -kselftest.c)
magic() { dd if="$kernel" bs=1 skip="$1" count=4 2>/dev/null | tr -d '\000'; }
append="quiet oops=panic panic=-1 rdinit=/init nokaslr mitigations=off secretmem.enable=1"
if [ "$(magic 514)" = HdrS ]; then
	arch=x86_64
	qemu="qemu-system-x86_64 -machine pc -cpu max"
	append="console=ttyS0 $append"
elif [ "$(magic 56)" = "ARMd" ]; then
	arch=aarch64
	qemu="qemu-system-aarch64 -machine virt -cpu cortex-a76"
	append="console=ttyAMA0 kpti=off $append"
else
	echo "$kernel is neither a bzImage nor an arm64 Image" >&2
	exit 69
fi
cc=gcc
[ "$arch" = "$(uname -m)" ] || cc=$arch-linux-gnu-gcc
for tool in "$cc" cpio "${qemu%% *}"; do
	command -v "$tool" >/dev/null || { echo "$tool is missing; the head of $0 says what is needed" >&2; exit 69; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/repro" "$work/root/proc" "$work/root/sys" "$work/root/tmp" "$work/root/dev"
"$cc" -static -Wall -Werror -o "$work/root/init" "$cd_to/init.c" || exit 69
for file in "$@"; do
	"$cc" -static -Wall -Werror -o "$work/root/repro/$(basename "$file" .c)" "$file" || exit 69
done
(cd "$work/root" && find . | cpio --quiet -o -H newc) >"$work/cpio"
echo 69 >"$work/ended"
{
	timeout 300 $qemu -m 512 -display none -nodefaults -no-reboot -serial stdio \
		-kernel "$kernel" -initrd "$work/cpio" -append "$append" && ended=0 || ended=$?
	echo $ended >"$work/ended"
} | tr -d '\r' | tee "$work/log"
found() { grep -q "reproducer: .* $1\$" "$work/log"; }
if found '1' || found '1[3-9][0-9]'; then exit 1; fi
if ! grep -q "reproducer: end" "$work/log"; then
	# 0: the guest went down by itself. 124: time is up. Anything else is QEMU's.
	running=$(sed -n 's/.*reproducer: \(.*\) begins$/\1/p' "$work/log" | tail -n 1)
	! grep -q "reproducer: $running [0-9]*\$" "$work/log" || running=
	case "$(cat "$work/ended") $running" in
	"0 "?*) echo "the kernel went down while $running ran"; exit 1 ;;
	"124 "?*) echo "the machine hangs: $running did not end"; exit 1 ;;
	esac
	echo "it did not come to its end" >&2
	exit 69
fi
if found 4; then exit 4; fi
if grep "reproducer: " "$work/log" | grep -qv -e " begins\$" -e " 0\$" -e " end\$"; then exit 69; fi
exit 0
