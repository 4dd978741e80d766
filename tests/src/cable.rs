//! A cable between a client and a server that a test can cut, or make deaf in one direction.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// What the server answers is swallowed; what the client says still arrives.
    AnswersLost,
    /// Connections are broken, new ones are refused.
    Cut,
}

/// Listens on a port of its own and passes everything on to the server's.
#[derive(Debug)]
pub struct Cable {
    port: u16,
    state: Arc<watch::Sender<State>>,
}

impl Cable {
    pub async fn to(server_port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(watch::channel(State::Whole).0);
        spawn(accept(listener, server_port, state.subscribe()));
        Ok(Self { port, state })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn lose_answers(&self) {
        self.state.send_replace(State::AnswersLost);
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Breaks the connections there are and lets new ones through.
    pub fn mend(&self) {
        self.state.send_replace(State::Cut);
        self.state.send_replace(State::Whole);
    }
}

async fn accept(listener: TcpListener, server_port: u16, mut state: watch::Receiver<State>) {
    loop {
        tokio::select! {
            // The cable is gone: so is every connection.
            closed = async { while state.changed().await.is_ok() {} } => return closed,
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                if *state.borrow() != State::Cut {
                    spawn(connect(client, server_port, state.clone()));
                }
            }
        }
    }
}

async fn connect(client: TcpStream, server_port: u16, state: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, server_port))).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut cut = state.clone();
    // The state the connection was made in; any cut after it ends the connection, even one mended at once.
    cut.mark_unchanged();
    tokio::select! {
        () = broken(cut) => {}
        () = pass(from_client, to_server, None) => {}
        () = pass(from_server, to_client, Some(state)) => {}
    }
}

/// Ends when a connection that stands now must not stand any longer: after a cut, or a change back to whole.
async fn broken(mut state: watch::Receiver<State>) {
    while state.changed().await.is_ok() {
        if *state.borrow_and_update() != State::AnswersLost {
            return;
        }
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: Option<watch::Receiver<State>>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        if state.as_ref().is_some_and(|state| *state.borrow() == State::AnswersLost) {
            continue;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests own their tasks: they end with the runtime")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
