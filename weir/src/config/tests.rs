use super::*;
use weir_collectors::kubernetes::catalog::ServicePort;

fn read(text: &str) -> Result<Config, Vec<Problem>> {
    from_bytes(Path::new("conf/weir.yaml"), text.as_bytes(), Given::default())
}

#[track_caller]
fn refused(text: &str, line: usize, what: &str) {
    let problems = read(text).unwrap_err();
    let found = problems.iter().any(|p| p.line == line && p.what.contains(what));
    assert!(found, "nothing about {what:?} on line {line}: {problems:#?}");
    assert!(problems.iter().all(|problem| !problem.mend.is_empty()), "{problems:#?}");
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = read("").unwrap();
    assert_eq!(config.xds, "127.0.0.1:18010".parse().unwrap());
    assert_eq!(config.api, "127.0.0.1:9980".parse().unwrap());
    assert_eq!(config.metrics, "127.0.0.1:9981".parse().unwrap());
    assert_eq!(config.tick, Duration::from_secs(1));
    assert!(matches!(config.sources[..], [SourceConfig::Push { entries_per_second: 2_000, .. }]));
    assert_eq!(config.origins["listen.xds"], Origin::Default);
}

#[test]
fn a_service_is_read_with_paths_beside_the_file() {
    let config = read(
        "services:
  - namespace: demo
    name: shop
    clusters: [b, a]
    endpoints: {file: shop.yaml}
    write_clusters: true
policies: goals
",
    )
    .unwrap();
    let service = &config.services[0];
    assert_eq!(service.id, ServiceId::new("demo", "shop"));
    assert_eq!(service.endpoints, Endpoints::File("conf/shop.yaml".into()));
    assert_eq!(service.clusters, ["a".into(), "b".into()]);
    assert!(service.form.locality_weighted);
    assert_eq!(config.policies, Some("conf/goals".into()));
}

#[test]
fn clusters_of_others_take_no_weights_until_they_are_described() {
    let config = read("services: [{name: shop, endpoints: {dns: 'shop:80'}}]").unwrap();
    assert!(!config.services[0].form.locality_weighted);
    assert_eq!(config.services[0].clusters, ["shop".into()]);
}

#[test]
fn flags_go_before_the_file() {
    let given =
        Given { tick: Some((Duration::from_millis(500), Origin::Flag)), ..Given::default() };
    let config = from_bytes(Path::new("weir.yaml"), b"tick: 2s", given).unwrap();
    assert_eq!(config.tick, Duration::from_millis(500));
    assert_eq!(config.origins["tick"], Origin::Flag);
}

#[test]
fn mistakes_are_found_at_their_lines() {
    refused("tick: soon", 1, "no duration");
    refused("tick: 1ms", 1, "outside");
    refused("listen:\n  xds: nowhere", 2, "no address");
    refused("tikc: 1s", 1, "tikc");
    refused("sources:\n  - {push: {}, scrape: {targets: []}}", 2, "exactly one");
    refused("sources:\n  - scrape: {targets: [nowhere]}", 2, "nowhere");
    refused("sources:\n  - scrape: {targets: []}", 2, "no target");
    refused("sources:\n  - push: {}\n  - push: {}", 3, "twice");
    refused(
        "sources:\n  - scrape: {targets: ['http://a:1'], interval: 10ms}",
        2,
        "10ms is below 100ms",
    );
    refused("sources:\n  - prometheus: {url: 'http://p', queries: {rps: up}}", 2, "rps");
    refused("sources:\n  - prometheus: {url: 'http://p', queries: {errors: 'a{'}}", 2, "PromQL");
    refused("sources:\n  - prometheus: {url: 'http://p', http: {user: me}}", 2, "password");
    refused("listen:\n  hosts: ['http://weir']", 2, "no host name");
    refused("listen: {hosts: ['weir:80']}", 1, "has a port");
    refused("services:\n  - {name: a, endpoints: {}}", 2, "exactly one source");
    refused("services:\n  - {name: a, endpoints: {dns: host}}", 2, "port");
    refused(
        "services:\n  - {name: a, endpoints: {telemetry: true}, write_clusters: true}",
        2,
        "cannot be served",
    );
    refused(
        "services:\n  - {name: a, endpoints: {versions: true}, write_clusters: true}",
        2,
        "no clusters of its own",
    );
    refused(
        "services:\n  - {name: a, endpoints: {dns: 'a:1'}}\n  - {name: a, endpoints: {dns: 'a:1'}}",
        3,
        "stands twice",
    );
    refused("sources:\n  - prometheus: {url: 'http://p:9090', preset: linkerd}", 2, "preset");
}

#[test]
fn a_service_of_versions_has_no_cluster() {
    let text = "services:\n  - {name: a, endpoints: {versions: true}}\n  - {name: a-v1, endpoints: {dns: 'a:1'}}";
    let config = read(text).unwrap();
    let [all, one] = config.services.as_slice() else { panic!("two services") };
    assert_eq!((&all.endpoints, all.clusters.len()), (&Endpoints::Versions, 0));
    assert_eq!(one.clusters.len(), 1);
    let reach: Vec<Reach> = known(&config.services).into_values().collect();
    assert_eq!(reach, [Reach::Routed, Reach::Served]);
}

#[test]
fn all_mistakes_are_found_at_once() {
    let problems = read("tick: soon\nlisten:\n  xds: nowhere\n  api: neither\n").unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:#?}");
}

#[test]
fn durations_are_those_of_the_gateway_api() {
    for (text, expected) in [
        ("1s", Some(1_000)),
        ("500ms", Some(500)),
        ("1h30m", Some(5_400_000)),
        ("", None),
        ("1", None),
        ("s", None),
        ("1d", None),
        ("123456s", None),
    ] {
        let parsed = check::parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(parsed, expected, "{text:?}");
    }
}

#[test]
fn a_services_endpoints_may_be_those_of_a_kubernetes_service() {
    let config = read(
        "kubernetes: {kubeconfig: kube.yaml, namespaces: [shop]}
services:
  - {namespace: shop, name: web, endpoints: {kubernetes: {port: http}}}
  - {name: till, endpoints: {kubernetes: {service: checkout, namespace: shop, port: 80}}}
",
    )
    .unwrap();
    let of = |index: usize| {
        let Endpoints::Kubernetes { of, port } = &config.services[index].endpoints else {
            panic!("{:?}", config.services[index])
        };
        format!("{of} {}", port.as_ref().unwrap())
    };
    assert_eq!((of(1), of(0)), ("shop/web http".to_owned(), "shop/checkout 80".to_owned()));
    let cluster = config.kubernetes.unwrap();
    assert_eq!(cluster.to_string(), "conf/kube.yaml, namespaces [shop]");
    let port = ServicePort { name: "http".to_owned(), number: 80 };
    let name = cluster.clusters.of(&ServiceId::new("shop", "web"), &port);
    assert_eq!(name.as_str(), "outbound|80||web.shop.svc.cluster.local");
}

#[test]
fn what_is_wrong_with_a_cluster_is_said() {
    let of_cluster = "services: [{name: web, endpoints: {kubernetes: {port: http}}}]";
    refused(of_cluster, 1, "no Kubernetes cluster is named");
    refused(&format!("kubernetes: {{namespaces: [shop]}}\n{of_cluster}"), 2, "not among those");
    refused("kubernetes: {context: here}", 1, "none is named");
    refused("kubernetes: {namespaces: []}", 1, "cannot be watched");
    refused("kubernetes: {namespaces: [Shop/x]}", 1, "is no name of a Kubernetes object");
    refused("kubernetes: {clusters: 'shop-{port}'}", 1, "two services would have one cluster");
    refused("kubernetes: {balancer: {policy: MAGLEV}}", 1, "no policy whose shares");
    let port = "kubernetes: {}\nservices: [{name: web, endpoints: {kubernetes: {port: 0}}}]";
    refused(port, 2, "no number of a port");
    let two = "kubernetes: {}\nservices: [{name: web, endpoints: {dns: 'a:1', kubernetes: {}}}]";
    refused(two, 2, "exactly one source");
}
