//! The dashboard in a real browser: what it logs, whom it asks, what a keyboard reaches, whether
//! an update arrives by itself, and how it looks.
//!
//! Needs Chromium (`WEIR_CHROMIUM`, or where Debian puts it), Node and `playwright-core`. Without
//! them it says that it is skipped; where `WEIR_REQUIRE` names `chromium` that is a failure.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use weir_dashboard::web::serve::serve;
use weir_dashboard::web::{Hosts, Web, router};
use weir_engine::goal::Mode;
use weir_engine::names::ServiceId;

#[allow(
    unreachable_pub,
    dead_code,
    reason = "the dashboard's own tests share it and use all of it"
)]
#[path = "../../dashboard/tests/it/story.rs"]
mod story;

use story::{Cast, Story, at};

/// What the script prints when it has the page open and waits for news.
const WAITS: &str = "waits for a step";

#[test]
fn pages_work_in_chromium() {
    let Some(browser) = Browser::find() else { return };
    let runtime = Runtime::new().unwrap();
    let mut servers = JoinSet::new();
    let mut story = Story::whole();
    let many = many();
    let pages = runtime.block_on(start(&mut servers, &story));
    let large = runtime.block_on(start(&mut servers, &many));
    let mut script = browser.run(&[&pages, &large]);
    let output = BufReader::new(script.0.stdout.take().unwrap());
    for line in output.lines().map_while(Result::ok) {
        if line == WAITS {
            story.tell(12);
        } else {
            println!("{line}");
        }
    }
    assert!(script.0.wait().unwrap().success(), "the script says above what is wrong");
    drop(servers);
}

/// A service as large as a page is meant for.
fn many() -> Story {
    let endpoints = (0..2_000).map(|index| format!("10.{}.{:03}:8080", index / 250, index % 250));
    let mut story = Story::of(vec![Cast {
        id: ServiceId::new("demo", "shop"),
        endpoints: endpoints.collect(),
        mode: Mode::Enforce,
        rps: 100_000.0,
    }]);
    story.tell(120);
    story
}

async fn start(servers: &mut JoinSet<std::io::Result<()>>, story: &Story) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let board = std::sync::Arc::clone(&story.board);
    let step = story.step;
    let site = router(Web {
        board,
        clock: std::sync::Arc::new(move || at(step)),
        judge: weir_models::canary::compare,
        hosts: Hosts::Loopback,
        leader: std::sync::Arc::new(|| None),
    });
    servers.spawn(serve(listener, site, std::future::pending()));
    format!("http://{address}")
}

/// What a run of the script needs.
struct Browser {
    chromium: PathBuf,
    playwright: PathBuf,
}

/// The script's process; it does not outlive the test.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, which is as well.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Browser {
    #[expect(clippy::print_stdout, reason = "a test says what it skips")]
    fn find() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let playwright = root.join(".build/node_modules/playwright-core");
        let named = setting("WEIR_CHROMIUM").map(PathBuf::from);
        let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].map(PathBuf::from);
        let chromium = named.into_iter().chain(usual).find(|path| path.exists());
        let node = Command::new("node").arg("--version").output().is_ok();
        let missing = match (&chromium, playwright.exists(), node) {
            (None, ..) => "chromium (apt-get install chromium, or set WEIR_CHROMIUM)",
            (_, false, _) => "playwright-core (npm install --prefix .build playwright-core)",
            (.., false) => "node (apt-get install nodejs)",
            (Some(_), true, true) => return chromium.map(|chromium| Self { chromium, playwright }),
        };
        let required = setting("WEIR_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|part| part.trim() == "chromium"), "missing: {missing}");
        println!("skipped: no {missing}");
        None
    }

    fn run(&self, sites: &[&str]) -> Script {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/pages.mjs");
        let pictures = concat!(env!("CARGO_TARGET_TMPDIR"), "/screenshots");
        let child = Command::new("node")
            .arg(script)
            .args([&self.playwright, &self.chromium])
            .arg(pictures)
            .args(sites)
            .stdout(Stdio::piped())
            .spawn();
        Script(child.unwrap())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's switches, read here only")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
