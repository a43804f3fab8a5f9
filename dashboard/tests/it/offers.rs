//! What waits for approval, and what was approved, wherever people and programs look.

use std::time::Duration;

use weir_dashboard::view::decision::DecisionPage;
use weir_dashboard::view::offer::OfferView;
use weir_dashboard::view::service::ServiceDetail;
use weir_engine::approval::{Approval, Offer, Reach, Scope};
use weir_engine::decision::{ServiceDecision, Stance};
use weir_engine::units::Ratio;

use crate::ask::{get, site};
use crate::story::{Story, at};

/// Of the ledger: something is offered for a minute, and then approved.
fn recommends(decision: &mut ServiceDecision, step: u64) {
    if &*decision.service.name != "ledger" || step < 30 {
        return;
    }
    let reach = |host: u64, out, least| Reach {
        address: format!("10.0.2.{host}:8080").as_str().into(),
        out,
        least,
        most: 1.0,
    };
    let scope = Scope {
        endpoints: vec![reach(1, true, 1.0), reach(3, false, 0.4)],
        shed: Ratio::clamped(0.05),
        zones: false,
    };
    decision.stance = Stance::Steering;
    let (number, since) = (1_030, at(30));
    if step < 90 {
        decision.offer = Some(Offer { number, since, scope });
    } else {
        let until = at(90).plus(Duration::from_secs(3_600));
        let by = "ann (uid 1000)".to_owned();
        decision.approval = Some(Approval { number, by, since: at(90), until, scope });
    }
}

fn story(steps: u64) -> Story {
    let mut story = Story::new();
    story.also = recommends;
    story.surround();
    story.tell(steps);
    story
}

const TEXT: &str = "eject 10.0.2.1:8080, 10.0.2.3:8080 down to 0.40 x an equal share, turn away up to 5.0 % of the \
     requests";

#[tokio::test]
async fn an_offer_stands_on_its_page_in_the_api_and_in_the_metrics() {
    let story = story(60);
    let site = site(&story.board, at(60));
    let offers: Vec<OfferView> = get(&site, "/api/v1/offers").await.json();
    assert_eq!(offers.len(), 1);
    assert_eq!((offers[0].id.as_str(), offers[0].text.as_str()), ("pay/ledger@1030", TEXT));
    let ledger: ServiceDetail = get(&site, "/api/v1/services/pay/ledger").await.json();
    assert_eq!(ledger.service.offer.as_ref(), Some(&offers[0]));
    let page = get(&site, "/services/pay/ledger").await;
    for text in [TEXT, "<code>weir approve pay/ledger@1030</code>", "Would steer"] {
        assert!(page.text().contains(text), "{text}: {}", page.text());
    }
    assert!(story.board.metrics().text().contains("weir_offers 1"));
}

#[tokio::test]
async fn an_approval_says_who_and_until_when_and_is_told_as_a_decision() {
    let story = story(120);
    let site = site(&story.board, at(120));
    assert_eq!(get(&site, "/api/v1/offers").await.text(), "[]");
    let ledger: ServiceDetail = get(&site, "/api/v1/services/pay/ledger").await.json();
    let approval = ledger.service.approval.expect("it was approved");
    assert_eq!((approval.by.as_str(), approval.text.as_str()), ("ann (uid 1000)", TEXT));
    let page = get(&site, "/services/pay/ledger").await;
    for text in ["Approved by ann (uid 1000) until", "--withdraw", "Steering"] {
        assert!(page.text().contains(text), "{text}: {}", page.text());
    }
    assert!(!page.text().contains("would"), "it is done");
    let page: DecisionPage = get(&site, "/api/v1/decisions?service=pay/ledger").await.json();
    let told = page.items.iter().find(|one| one.title.starts_with("Approved by ann"));
    assert!(told.is_some_and(|one| one.acted), "{:?}", page.items);
    assert!(story.board.metrics().text().contains("weir_offers 0"));
}
