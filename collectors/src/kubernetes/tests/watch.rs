use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::script::{
    Answer, bookmark, client, event, events, list, page, refusal, service, status,
};
use crate::kubernetes::trouble::Place;
use crate::kubernetes::watch::{Event, SILENCE_MAX, follow};

/// A watch of Services whose requests are answered in this order.
fn watch(answers: Vec<Answer>) -> (impl Stream<Item = String> + Unpin, super::script::AskedFor) {
    let mut answers = VecDeque::from(answers);
    let (client, asked) = client(move |_| answers.pop_front().unwrap_or(Answer::Silence));
    let place = Place { resource: "services", group: "", namespace: Some("shop".to_owned()) };
    let events = follow(Api::<Service>::namespaced(client, "shop"), place);
    (events.map(shown).boxed(), asked)
}

fn shown(event: Event<Service>) -> String {
    match event {
        Event::Listed(all) => {
            let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
            format!("listed {}", names.join(" "))
        }
        Event::Applied(service) => format!("applied {}", service.name_any()),
        Event::Deleted(service) => format!("deleted {}", service.name_any()),
        Event::Alive => "alive".to_owned(),
        Event::Failed(trouble) => format!("failed: {trouble}"),
    }
}

fn web(name: &str) -> serde_json::Value {
    service(name, json!([{ "port": 80 }]))
}

#[tokio::test(start_paused = true)]
async fn lists_page_by_page_then_watches_from_there() {
    let (speak, answer) = events();
    let (mut watch, asked) =
        watch(vec![page("7", "more", &[web("a")]), page("7", "", &[web("b")]), answer]);
    assert_eq!(watch.next().await.unwrap(), "listed a b");
    speak.send(event("ADDED", &web("c"))).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), "applied c");
    speak.send(event("DELETED", &web("a"))).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), "deleted a");
    let asked = asked.lock().unwrap();
    assert!(asked[1].contains("continue=more"), "{asked:?}");
    assert!(asked[2].contains("watch=true") && asked[2].contains("resourceVersion=7"), "{asked:?}");
    assert!(asked[2].contains("allowWatchBookmarks=true"), "{asked:?}");
}

/// Only what came last is asked for again, be it an object's version or a bookmark's.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let (speak, first) = events();
    let (again, second) = events();
    let (mut watch, asked) = watch(vec![list("7", &[]), first, second]);
    assert_eq!(watch.next().await.unwrap(), "listed ");
    speak.send(bookmark("9")).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), "alive");
    drop(speak);
    again.send(event("ADDED", &web("c"))).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), "applied c");
    assert!(asked.lock().unwrap()[2].contains("resourceVersion=9"));
}

/// Both ways in which a server says that a version is too old.
#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_begins_with_a_list() {
    let (speak, told) = events();
    speak.send(event("ERROR", &status(410, "too old"))).await.unwrap();
    for gone in [told, refusal(410, "too old")] {
        let (mut watch, asked) = watch(vec![list("7", &[web("a")]), gone, list("9", &[])]);
        assert_eq!(watch.next().await.unwrap(), "listed a");
        assert_eq!(watch.next().await.unwrap(), "listed ");
        assert_eq!(asked.lock().unwrap().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_say_how_they_are_mended_and_are_asked_again_ever_more_rarely() {
    let mut answers: Vec<Answer> = [401, 403, 429, 500].map(|code| refusal(code, "no")).into();
    answers.extend((0..8).map(|_| Answer::Broken));
    answers.push(list("7", &[web("a")]));
    let (mut watch, _) = watch(answers);
    let began = Instant::now();
    let mut heard = Vec::new();
    let mut at = Vec::new();
    for _ in 0..13 {
        heard.push(watch.next().await.unwrap());
        at.push(began.elapsed());
    }
    assert!(heard[0].contains("renew the kubeconfig"), "{}", heard[0]);
    assert_eq!(
        heard[1],
        "failed: may not list services in namespace shop: give the service account the verbs get, \
         list and watch on resource services of API group \"\" there"
    );
    assert!(heard[2].contains("answers 429"), "{}", heard[2]);
    assert!(heard[3].contains("answers 500"), "{}", heard[3]);
    assert!(heard[4].contains("cannot get services in namespace shop"), "{}", heard[4]);
    assert_eq!(heard[12], "listed a");
    let waits: Vec<Duration> = at.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    assert!(
        waits[0] >= Duration::from_millis(250) && waits[0] < Duration::from_secs(1),
        "{waits:?}"
    );
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(31)), "{waits:?}");
    assert!(waits[11] >= Duration::from_secs(29), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_watch_lists_nothing_anew() {
    let (speak, answer) = events();
    let (mut watch, asked) = watch(vec![list("7", &[]), refusal(403, "no"), answer]);
    assert_eq!(watch.next().await.unwrap(), "listed ");
    assert!(watch.next().await.unwrap().starts_with("failed: may not watch services"));
    speak.send(bookmark("8")).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), "alive");
    assert!(asked.lock().unwrap()[2].contains("resourceVersion=7"));
}

/// A connection that is dead without anybody having said so.
#[tokio::test(start_paused = true)]
async fn silence_is_noticed_and_told_and_the_watch_goes_on() {
    let (speak, dead) = events();
    let (again, answer) = events();
    let (mut watch, _) = watch(vec![list("7", &[]), dead, answer]);
    assert_eq!(watch.next().await.unwrap(), "listed ");
    assert_eq!(watch.next().await.unwrap(), "alive");
    let began = Instant::now();
    speak.send(bookmark("8")).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), "alive");
    let words = watch.next().await.unwrap();
    assert!(words.contains("silent about services in namespace shop for 90 s"), "{words}");
    assert_eq!(began.elapsed(), SILENCE_MAX);
    again.send(event("ADDED", &web("c"))).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), "applied c");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_not_waited_for_for_ever() {
    let (mut watch, _) = watch(vec![Answer::Silence, list("7", &[])]);
    let words = watch.next().await.unwrap();
    assert!(words.contains("silent") && words.contains("30 s"), "{words}");
    assert_eq!(watch.next().await.unwrap(), "listed ");
}

/// A server, or something before it, that ends every watch at once.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_is_not_asked_for_at_once() {
    let mut answers = vec![list("7", &[])];
    answers.extend((0..9).map(|_| events().1));
    let (mut watch, asked) = watch(answers);
    assert_eq!(watch.next().await.unwrap(), "listed ");
    let soon = tokio::time::timeout(Duration::from_secs(5), watch.next()).await;
    assert!(soon.is_err());
    assert!(asked.lock().unwrap().len() < 9, "{asked:?}");
}
