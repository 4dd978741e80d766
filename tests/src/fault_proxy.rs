//! A TCP proxy between a client and a server. A test can cut it or make it drop the server's responses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Forward,
    /// Responses of the server are dropped; requests of the client still arrive.
    DropResponses,
    /// New connections are refused.
    Refuse,
}

/// Drops responses once the client has sent these bytes.
#[derive(Debug)]
struct Trigger {
    bytes: Vec<u8>,
    fired: AtomicBool,
}

#[derive(Debug, Clone, Default)]
struct State {
    mode: Mode,
    trigger: Option<Arc<Trigger>>,
    /// How often all connections were broken. A connection made before the last break forwards nothing more.
    breaks: u64,
}

impl State {
    /// Fires the trigger if the client has sent its bytes.
    fn check_trigger(&self, bytes: &[u8]) {
        if let Some(trigger) = &self.trigger
            && bytes.windows(trigger.bytes.len()).any(|window| window == trigger.bytes)
        {
            trigger.fired.store(true, Ordering::Relaxed);
        }
    }

    fn forwards_responses(&self) -> bool {
        let triggered = self.trigger.as_ref().is_some_and(|trigger| trigger.fired.load(Ordering::Relaxed));
        self.mode != Mode::DropResponses && !triggered
    }
}

/// Listens on its own port and forwards everything to the server's port.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
}

impl FaultProxy {
    pub async fn to(server_port: u16) -> Result<Self> {
        Self::at(0, server_port).await
    }

    /// Listens on this port, which must be free.
    pub async fn at(port: u16, server_port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(watch::channel(State::default()).0);
        spawn(accept(listener, server_port, state.subscribe()));
        Ok(Self { port, state })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn drop_responses(&self) {
        self.state.send_modify(|state| state.mode = Mode::DropResponses);
    }

    /// Drops responses once the client has sent these bytes.
    pub fn drop_responses_after(&self, bytes: &str) {
        let trigger = Trigger { bytes: bytes.as_bytes().to_vec(), fired: AtomicBool::new(false) };
        self.state.send_modify(|state| state.trigger = Some(Arc::new(trigger)));
    }

    pub fn cut(&self) {
        self.break_all(Mode::Refuse);
    }

    /// Breaks the existing connections and accepts new ones.
    pub fn restore(&self) {
        self.break_all(Mode::Forward);
    }

    fn break_all(&self, mode: Mode) {
        self.state.send_modify(|state| *state = State { mode, trigger: None, breaks: state.breaks + 1 });
    }
}

async fn accept(listener: TcpListener, server_port: u16, mut state: watch::Receiver<State>) {
    loop {
        tokio::select! {
            // The proxy was dropped: so is every connection.
            closed = async { while state.changed().await.is_ok() {} } => return closed,
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                if state.borrow().mode != Mode::Refuse {
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
            state.check_trigger(bytes);
            (state.breaks == breaks).then_some(true)
        }) => {}
        () = pass(from_server, to_client, |_| {
            let state = answered.borrow();
            (state.breaks == breaks).then(|| state.forwards_responses())
        }) => {}
    }
}

/// Forwards or drops what it reads, as `passes` says; ends when `passes` returns nothing.
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
