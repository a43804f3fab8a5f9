use super::*;

/// All members, and a detector of so many.
fn of(members: usize, settings: Settings) -> Outliers {
    let mut outliers = Outliers::new(members, settings);
    outliers.set_members(&(0..members).collect::<Vec<_>>());
    outliers
}

fn fail(outliers: &mut Outliers, backend: usize, times: u32, now: u64) -> bool {
    (0..times).fold(false, |out, _| out | outliers.ended(backend, true, now))
}

/// An interval in which each member answered 100 requests, so many of them well.
fn interval(outliers: &mut Outliers, succeeded: &[u32], until: u64) -> Vec<usize> {
    for (backend, &succeeded) in succeeded.iter().enumerate() {
        for request in 0..100 {
            // Spread, so that failures do not stand in a row.
            let failed = request * (100 - succeeded) % 100 >= succeeded;
            outliers.ended(backend, failed, until - 1);
        }
    }
    outliers.sweep(until);
    (0..succeeded.len()).filter(|&backend| outliers.is_out(backend)).collect()
}

/// Envoy's rule for success rates alone, without its limit of ejections.
fn success_rate_only() -> Settings {
    Settings { consecutive_5xx: u32::MAX, max_ejection_percent: 100.0, ..Settings::default() }
}

#[test]
fn puts_out_at_once_after_failures_in_a_row() {
    let mut outliers = of(10, Settings::default());
    assert!(!fail(&mut outliers, 3, 4, 0));
    assert!(!outliers.ended(3, false, 0));
    assert!(!fail(&mut outliers, 3, 4, 0));
    assert!(outliers.ended(3, true, 0));
    assert!(outliers.is_out(3) && !outliers.is_out(2));
}

#[test]
fn of_fewer_than_ten_the_default_puts_out_nobody() {
    assert!(!fail(&mut of(9, Settings::default()), 3, 100, 0));
    let always = Settings { always_eject_one: true, ..Settings::default() };
    let mut outliers = of(9, always);
    assert!(fail(&mut outliers, 3, 5, 0));
    assert!(!fail(&mut outliers, 4, 100, 0));
}

#[test]
fn puts_out_no_more_than_the_limit() {
    let mut outliers = of(10, Settings { max_ejection_percent: 29.0, ..Settings::default() });
    let out = (0..10).filter(|&backend| fail(&mut outliers, backend, 5, 0)).count();
    assert_eq!(out, 2);
}

#[test]
fn tries_again_after_as_many_failures_where_the_limit_kept_it() {
    let mut outliers = of(10, Settings::default());
    assert!(fail(&mut outliers, 0, 5, 0));
    assert!(!fail(&mut outliers, 1, 6, 0));
    outliers.reset(0);
    assert!(!fail(&mut outliers, 1, 3, 0));
    assert!(fail(&mut outliers, 1, 1, 0));
}

#[test]
fn lets_back_only_at_a_sweep() {
    let mut outliers = of(10, Settings::default());
    fail(&mut outliers, 0, 5, SECOND);
    assert!(!outliers.sweep(30 * SECOND));
    assert!(!outliers.sweep(39 * SECOND) && outliers.is_out(0));
    assert!(outliers.sweep(40 * SECOND) && !outliers.is_out(0));
}

/// Seconds that each of the ejections lasts if it fails again whenever it is back.
fn lasts(settings: Settings, times: usize) -> Vec<u64> {
    let mut outliers = of(10, settings);
    let mut now = 0;
    let mut lasts = Vec::new();
    for _ in 0..times {
        assert!(fail(&mut outliers, 0, 5, now));
        let since = now;
        while outliers.is_out(0) {
            now += settings.interval;
            outliers.sweep(now);
        }
        lasts.push((now - since) / SECOND);
    }
    lasts
}

#[test]
fn each_ejection_in_a_row_lasts_longer_up_to_a_maximum() {
    assert_eq!(lasts(Settings::default(), 4), [30, 60, 90, 120]);
    let short = Settings { max_ejection: 70 * SECOND, ..Settings::default() };
    assert_eq!(lasts(short, 4), [30, 60, 70, 70]);
}

#[test]
fn healthy_intervals_wear_ejections_off() {
    let mut outliers = of(10, Settings::default());
    fail(&mut outliers, 0, 5, 0);
    (1..=3).for_each(|sweep| _ = outliers.sweep(sweep * 10 * SECOND));
    assert!(!outliers.is_out(0));
    outliers.sweep(40 * SECOND);
    fail(&mut outliers, 0, 5, 40 * SECOND);
    outliers.sweep(60 * SECOND);
    assert!(outliers.is_out(0));
    assert!(outliers.sweep(70 * SECOND), "lasted the base again");
}

/// The example in Envoy's own comment: mean 90, deviation 20, so the limit is 52.
#[test]
fn compares_success_rates_as_the_source_says() {
    let rates = |worst| [worst, 100.0, 100.0, 100.0, 100.0].into_iter().enumerate();
    let limit = least_rate(&rates(50.0).collect::<Vec<_>>(), 1.9);
    assert!((limit - 52.0).abs() < 1e-9, "{limit}");
    let out = |succeeded: &[u32]| {
        interval(&mut of(succeeded.len(), success_rate_only()), succeeded, 10 * SECOND)
    };
    assert_eq!(out(&[50, 100, 100, 100, 100]), [0]);
    assert_eq!(out(&[50, 50, 100, 100, 100, 100]), [], "a third is no outlier");
    assert_eq!(out(&[0, 100, 100, 100]), [], "four are too few");
}

#[test]
fn judges_only_who_had_enough_requests() {
    let mut outliers = of(6, success_rate_only());
    (0..99).for_each(|_| _ = outliers.ended(5, true, 1));
    assert_eq!(interval(&mut outliers, &[100; 5], 10 * SECOND), []);
    assert!(!outliers.is_out(5));
}

#[test]
fn judges_an_interval_once() {
    let mut outliers = of(5, success_rate_only());
    assert_eq!(interval(&mut outliers, &[50, 100, 100, 100, 100], 10 * SECOND), [0]);
    outliers.reset(0);
    assert!(!outliers.sweep(20 * SECOND));
    assert!(!outliers.is_out(0));
}

#[test]
fn failure_percentage_is_off_unless_tuned() {
    let rates = [79, 81, 100, 100, 100, 100];
    assert_eq!(interval(&mut of(6, Settings::tuned()), &rates, SECOND), [0]);
    let settings = Settings { success_rate: None, ..success_rate_only() };
    assert_eq!(interval(&mut of(6, settings), &rates, 10 * SECOND), []);
    assert!(fail(&mut of(6, Settings::tuned()), 5, 3, 0));
}

#[test]
fn counts_one_ejection_where_two_rules_agree() {
    let tuned = Settings { max_ejection_percent: 100.0, ..Settings::tuned() };
    let mut outliers = of(6, tuned);
    assert_eq!(interval(&mut outliers, &[10, 100, 100, 100, 100, 100], SECOND), [0]);
    (2..=11).for_each(|sweep| _ = outliers.sweep(sweep * SECOND));
    assert!(!outliers.is_out(0), "lasted ten seconds");
}

#[test]
fn forgets_who_left_and_ignores_strangers() {
    let mut outliers = of(10, Settings::default());
    fail(&mut outliers, 0, 5, 0);
    outliers.set_members(&(1..10).collect::<Vec<_>>());
    assert!(!outliers.is_out(0) && !fail(&mut outliers, 0, 9, 0));
    assert!(!outliers.ended(99, true, 0) && !outliers.is_out(99));
    outliers.reset(99);
    outliers.set_members(&(0..10).collect::<Vec<_>>());
    assert!(fail(&mut outliers, 1, 5, 0), "the first one's place is free");
    outliers.set_members(&(0..10).collect::<Vec<_>>());
    assert!(outliers.is_out(1), "who stays is remembered");
}
