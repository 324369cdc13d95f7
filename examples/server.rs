//! A server that may run for months, and ends without cutting an answer short: `cargo run --example server`.

use failfast::{BoxError, Context, Group};
use futures::future::{FutureExt as _, join};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

async fn serve(mut client: TcpStream) -> Result<(), BoxError> {
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    Ok(client.write_all(b"pong").await?)
}

async fn ping(server: SocketAddr) -> Result<String, BoxError> {
    let (mut server, mut answer) = (TcpStream::connect(server).await?, [0; 4]);
    server.write_all(b"ping").await?;
    server.read_exact(&mut answer).await?;
    Ok(String::from_utf8(answer.into())?)
}

async fn run() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (group, ctx) = Group::<()>::with_context(&Context::background(), smol::spawn);
    let group = group.with_grace(Duration::from_secs(10)); // for answers that are under way
    let (connections, shutdown) = (group.handle(), group.handle());
    group.spawn_named("listener", async move {
        // An error of the context's is the shutdown.
        while let Ok(accepted) = ctx.run(listener.accept()).await {
            let (client, peer) = accepted?;
            let served = async move {
                if let Err(error) = serve(client).await {
                    eprintln!("{peer}: {error}"); // one connection's failure is no other's
                }
                Ok::<_, BoxError>(())
            };
            let _ = connections.spawn_named(peer.to_string(), served); // refused after the end
        }
        Ok::<_, BoxError>(())
    });
    let client = ping(address).inspect(|_| shutdown.stop()); // as on a signal
    let (ended, answer) = join(group.wait(), client).await;
    println!("{}, {}", answer?, ended.map(|_| "stopped")?);
    Ok(())
}

fn main() -> Result<(), BoxError> {
    smol::block_on(run())
}
