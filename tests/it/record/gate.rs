//! A gate before a Prometheus: it refuses pages that are too long, and after some pages it denies
//! all, or answers no more.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// Steps of a page; longer ones are refused as Prometheus does it.
    pub(super) steps_max: u64,
    /// So many pages.
    pub(super) pages: usize,
    /// What follows: no answer at all, rather than a denial.
    pub(super) then_hang: bool,
}

impl Mode {
    /// Everything.
    pub(super) const OPEN: Self = Self { steps_max: 11_000, pages: usize::MAX, then_hang: false };
}

pub(super) struct Gate {
    pub(super) address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    hangs: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Gate {
    pub(super) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(Mutex::new(Mode::OPEN));
        let (hang, hangs) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let keeper = Keeper { server, mode: Arc::clone(&mode), hang: Arc::new(hang) };
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(keeper.clone().pass(stream));
            }
        });
        Self { address, mode, hangs, _tasks: tasks }
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Waits until somebody waits for an answer that will not come.
    pub(super) async fn hanging(&self) {
        let hangs = self.hangs.clone().wait_for(|hangs| *hangs > 0).await.map(|hangs| *hangs);
        assert!(hangs.is_ok());
    }
}

#[derive(Clone)]
struct Keeper {
    server: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    hang: Arc<watch::Sender<usize>>,
}

/// What becomes of a request.
enum Ruling {
    Pass,
    TooMuch,
    Denied,
    Silence,
}

impl Keeper {
    async fn pass(self, mut client: TcpStream) {
        let Some(head) = head(&mut client).await else { return };
        match self.rule(&head) {
            Ruling::Pass => self.forward(client, &head).await,
            Ruling::TooMuch => {
                let body = r#"{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points per timeseries."}"#;
                answer(client, "400 Bad Request", "application/json", body).await;
            }
            Ruling::Denied => answer(client, "401 Unauthorized", "text/plain", "").await,
            Ruling::Silence => {
                self.hang.send_modify(|hangs| *hangs += 1);
                std::future::pending::<()>().await;
            }
        }
    }

    fn rule(&self, head: &str) -> Ruling {
        let mut mode = self.mode.lock().unwrap();
        let range = head.contains("/query_range?");
        if range && steps(head) > mode.steps_max {
            return Ruling::TooMuch;
        }
        if mode.pages == 0 {
            return if mode.then_hang { Ruling::Silence } else { Ruling::Denied };
        }
        mode.pages -= usize::from(range && mode.pages < usize::MAX);
        Ruling::Pass
    }

    /// One request, one connection.
    async fn forward(&self, mut client: TcpStream, head: &str) {
        let mut server = TcpStream::connect(self.server).await.unwrap();
        let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        server.write_all(head.as_bytes()).await.unwrap();
        // Whoever was interrupted hears no answer.
        tokio::io::copy(&mut server, &mut client).await.ok();
        client.shutdown().await.ok();
    }
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn steps(head: &str) -> u64 {
    let of = |name: &str| -> f64 {
        let value = head.split(&format!("{name}=")).nth(1).unwrap();
        value.split(['&', ' ']).next().unwrap().parse().unwrap()
    };
    ((of("end") - of("start")) / of("step")) as u64 + 1
}

async fn answer(mut stream: TcpStream, status: &str, kind: &str, body: &str) {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}
