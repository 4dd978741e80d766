//! A proxy between a client and a server that a test can cut, or make deaf in one direction.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Whole,
    /// What the server answers is swallowed; what the client says still arrives.
    AnswersLost,
    /// New connections are refused.
    Cut,
}

/// From the moment on at which the client says something, answers are lost.
#[derive(Debug)]
struct Trigger {
    said: Vec<u8>,
    heard: AtomicBool,
}

#[derive(Debug, Clone, Default)]
struct State {
    line: Line,
    trigger: Option<Arc<Trigger>>,
    /// How many times every connection there was has been broken. One made before the last time passes nothing more
    /// on, even if it has not come to its end yet.
    breaks: u64,
}

impl State {
    /// Takes note of what the client says.
    fn hear(&self, bytes: &[u8]) {
        if let Some(trigger) = &self.trigger
            && bytes.windows(trigger.said.len()).any(|window| window == trigger.said)
        {
            trigger.heard.store(true, Ordering::Relaxed);
        }
    }

    fn answers_arrive(&self) -> bool {
        let triggered = self.trigger.as_ref().is_some_and(|trigger| trigger.heard.load(Ordering::Relaxed));
        self.line != Line::AnswersLost && !triggered
    }
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
        let state = Arc::new(watch::channel(State::default()).0);
        spawn(accept(listener, server_port, state.subscribe()));
        Ok(Self { port, state })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn lose_answers(&self) {
        self.state.send_modify(|state| state.line = Line::AnswersLost);
    }

    /// Loses answers once the client has said this.
    pub fn lose_answers_after(&self, said: &str) {
        let trigger = Trigger { said: said.as_bytes().to_vec(), heard: AtomicBool::new(false) };
        self.state.send_modify(|state| state.trigger = Some(Arc::new(trigger)));
    }

    pub fn cut(&self) {
        self.break_all(Line::Cut);
    }

    /// Breaks the connections there are and lets new ones through.
    pub fn mend(&self) {
        self.break_all(Line::Whole);
    }

    fn break_all(&self, line: Line) {
        self.state.send_modify(|state| *state = State { line, trigger: None, breaks: state.breaks + 1 });
    }
}

async fn accept(listener: TcpListener, server_port: u16, mut state: watch::Receiver<State>) {
    loop {
        tokio::select! {
            // The cable is gone: so is every connection.
            closed = async { while state.changed().await.is_ok() {} } => return closed,
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                if state.borrow().line != Line::Cut {
                    spawn(connect(client, server_port, state.clone()));
                }
            }
        }
    }
}

async fn connect(client: TcpStream, server_port: u16, mut state: watch::Receiver<State>) {
    let breaks = state.borrow().breaks;
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, server_port))).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (asked, answered) = (state.clone(), state.clone());
    tokio::select! {
        _ = state.wait_for(|state| state.breaks != breaks) => {}
        () = pass(from_client, to_server, |bytes| {
            let state = asked.borrow();
            state.hear(bytes);
            (state.breaks == breaks).then_some(true)
        }) => {}
        () = pass(from_server, to_client, |_| {
            let state = answered.borrow();
            (state.breaks == breaks).then(|| state.answers_arrive())
        }) => {}
    }
}

/// Passes on what comes, or swallows it, as `passes` says; ends when it says nothing.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, passes: impl Fn(&[u8]) -> Option<bool>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        match passes(&buffer[..length]) {
            Some(true) if to.write_all(&buffer[..length]).await.is_ok() => {}
            Some(false) => {}
            Some(true) | None => return,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests own their tasks: they end with the runtime")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
