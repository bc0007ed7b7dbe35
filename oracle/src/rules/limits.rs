//! Where the model ends: limits that it does not count.

use super::registry::Rule;
use crate::judge::Class;

pub const OUT_OF_MEMORY: Rule = Rule {
    name: "limits/out-of-memory",
    text: "Any call that allocates may fail with ENOMEM (fork and advice also with EAGAIN) when the machine is out of memory or at \
           a limit. What it left is not specified: the rest of the program cannot be judged.",
    source: "man-pages: mmap(2), madvise(2), fork(2)",
    since: "all",
    about: &[Class::Errno],
};
