//! Serves the page, and the two services that it calls: `/profile?after=200` answers after 200 ms, `&fails` with a
//! 500.
//! Prints when a request is aborted.

#[cfg(not(target_family = "wasm"))]
fn main() -> std::io::Result<()> {
    server::serve()
}

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
mod server {
    use std::io::{self, BufRead as _, BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::path::{Component, Path};
    use std::time::Duration;
    use std::{fs, thread};

    pub(super) fn serve() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:8080")?;
        println!("http://{}", listener.local_addr()?);
        for stream in listener.incoming() {
            thread::spawn(move || {
                if let Err(error) = stream.and_then(answer) {
                    eprintln!("{error}");
                }
            });
        }
        Ok(())
    }

    fn answer(mut stream: TcpStream) -> io::Result<()> {
        let target = read_target(&stream)?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/profile" => service(&mut stream, path, query, "Name: Alice"),
            "/orders" => service(&mut stream, path, query, "Order: 5"),
            _ => file(&mut stream, path.trim_start_matches('/')),
        }
    }

    /// What stands behind `GET`; the headers are skipped.
    fn read_target(stream: &TcpStream) -> io::Result<String> {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        Ok(request.split(' ').nth(1).unwrap_or("/").to_owned())
    }

    fn service(stream: &mut TcpStream, path: &str, query: &str, body: &str) -> io::Result<()> {
        let after = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("after="));
        let after: u64 = after.and_then(|after| after.parse().ok()).unwrap_or(1);
        if is_aborted_within(stream, Duration::from_millis(after.max(1)))? {
            println!("{path}: aborted by the page");
            return Ok(());
        }
        match query.split('&').any(|pair| pair == "fails") {
            true => respond(stream, "500 Internal Server Error", "text/plain", b""),
            false => respond(stream, "200 OK", "text/plain", body.as_bytes()),
        }
    }

    /// Waits so long, or until the page hangs up.
    fn is_aborted_within(stream: &TcpStream, time: Duration) -> io::Result<bool> {
        stream.set_read_timeout(Some(time))?;
        match stream.peek(&mut [0]) {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(false),
                io::ErrorKind::ConnectionReset => Ok(true),
                _ => Err(error),
            },
        }
    }

    fn file(stream: &mut TcpStream, path: &str) -> io::Result<()> {
        let path = Path::new(if path.is_empty() { "index.html" } else { path });
        let plain = |part| matches!(part, Component::Normal(_));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("www");
        let inside = path.components().all(plain);
        match inside.then(|| fs::read(root.join(path))) {
            Some(Ok(content)) => {
                let kind = match path.extension().and_then(|kind| kind.to_str()) {
                    Some("html") => "text/html",
                    Some("js") => "text/javascript",
                    Some("wasm") => "application/wasm",
                    _ => "application/octet-stream",
                };
                respond(stream, "200 OK", kind, &content)
            }
            _ => respond(stream, "404 Not Found", "text/plain", b"not found"),
        }
    }

    fn respond(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )?;
        stream.write_all(body)
    }
}
