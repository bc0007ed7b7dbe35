//! For tests: a mirror in a directory, served over loopback HTTP.

use crate::lock::{Archive, LockedKernel, Package};
use crate::{deb, hash, image, version, Arch, Mirrors, Store};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// A directory with `pool/` and a cache beside it; what is asked for is counted.
pub(crate) struct Mirror {
    dir: tempfile::TempDir,
    uri: String,
    requests: Arc<AtomicUsize>,
}

impl Mirror {
    pub(crate) fn new() -> Mirror {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pool")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/debian", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let (root, count) = (dir.path().to_owned(), requests.clone());
        // Ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                // apt keeps a connection open for more requests; each is answered in turn.
                loop {
                    let head: Vec<String> = lines
                        .by_ref()
                        .map_while(Result::ok)
                        .take_while(|l| !l.is_empty())
                        .collect();
                    let Some(path) = head.first().and_then(|l| l.split(' ').nth(1)) else {
                        break;
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                    let mut out = &stream;
                    let answer = match std::fs::read(root.join(path.trim_start_matches("/debian/")))
                    {
                        Ok(body) => [
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())
                                .into_bytes(),
                            body,
                        ]
                        .concat(),
                        Err(_) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
                    };
                    if out.write_all(&answer).is_err() {
                        break;
                    }
                }
            }
        });
        Mirror { dir, uri, requests }
    }

    /// How many files were asked for so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn mirrors(&self) -> Mirrors {
        Mirrors::from_main(&self.uri)
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(self.cache(), self.mirrors())
    }

    /// Where the mirror keeps a package's file.
    pub(crate) fn file(&self, package: &Package) -> PathBuf {
        self.dir.path().join(&package.path)
    }

    /// Puts any file on the mirror.
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        crate::files::write_atomically(&self.dir.path().join(path), content).unwrap();
    }

    /// Puts a package on the mirror and returns its locked entry, without the image's hash.
    pub(crate) fn kernel(&self, point: &str, deb: &[u8]) -> LockedKernel {
        let name = format!("linux-image-{point}-cloud-amd64");
        let path = format!("pool/{name}.deb");
        std::fs::write(self.dir.path().join(&path), deb).unwrap();
        LockedKernel {
            series: version::series(point).unwrap(),
            point: point.to_owned(),
            release: format!("{point}-cloud-amd64"),
            arch: Arch::X86_64,
            flavour: "cloud".into(),
            page_size: 4096,
            image_sha256: String::new(),
            image: Package {
                name,
                version: format!("{point}-1"),
                archive: Archive::Main,
                path,
                sha256: hash::bytes(deb),
                size: deb.len() as u64,
            },
            modules: None,
            config: None,
        }
    }

    /// A small but proper kernel on the mirror, with its locked entry.
    pub(crate) fn proper_kernel(&self, point: &str) -> LockedKernel {
        let bytes = image::tests::small_bzimage(&format!("{point}-cloud-amd64"));
        let vmlinuz = format!("boot/vmlinuz-{point}-cloud-amd64");
        let config = format!("boot/config-{point}-cloud-amd64");
        let files: [(&str, &[u8]); 3] = [
            (&config, b"CONFIG_X=y\n"),
            (&vmlinuz, &bytes),
            ("usr/share/doc/x", b"x"),
        ];
        let mut kernel = self.kernel(point, &deb::make(&files, "", &|d| d.to_vec()));
        kernel.image_sha256 = hash::bytes(&bytes);
        kernel
    }
}
