//! A Prometheus server's answer, decoded by us: what is not fit to be believed is an error here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::exposition;

/// Most series in one answer.
const SERIES_MAX: usize = 400_000;

/// A series' labels, its name under `__name__`.
pub(super) type Labels = BTreeMap<String, String>;

/// One value and its time in milliseconds since 1970, by the server's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: i64,
    /// NaN where the answer has no number.
    pub(super) value: f64,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Labels,
    /// In ascending order of time.
    pub(super) points: Vec<Point>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// Raw samples.
    Raw(Vec<Series>),
    /// What an expression evaluates to, one point a series.
    Computed(Vec<Series>),
}

/// Why an answer says nothing.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// No JSON of the expected form: cut off, or from somebody else.
    #[error("malformed answer")]
    Malformed(#[source] serde_json::Error),
    /// The server says no.
    #[error("refused ({kind}): {text}")]
    Refused {
        /// Its word for the kind of error.
        kind: String,
        /// Its explanation.
        text: String,
    },
    /// The server says that something is missing.
    #[error("answer with warnings, so maybe not all of it: {text}")]
    Partial {
        /// The first warning.
        text: String,
    },
    /// Success, but no data.
    #[error("answer without data")]
    NoData,
    /// More series than anyone should ask for.
    #[error("more than 400,000 series: narrow the query")]
    TooMany,
}

/// Decodes an answer's body.
pub(super) fn decode(body: &[u8]) -> Result<Answer, AnswerError> {
    let answer = match decode_as::<Data>(body)? {
        Data::Matrix(series) => Answer::Raw(series.into_iter().map(Series::from).collect()),
        Data::Vector(series) => Answer::Computed(series.into_iter().map(Series::from).collect()),
        Data::Scalar(point) => {
            Answer::Computed(vec![Series { labels: Labels::new(), points: vec![point.into()] }])
        }
        Data::String(_) => return Err(AnswerError::NoData),
    };
    let (Answer::Raw(series) | Answer::Computed(series)) = &answer;
    if series.len() > SERIES_MAX { Err(AnswerError::TooMany) } else { Ok(answer) }
}

/// Decodes an answer's body whose data is of another form.
pub(super) fn decode_as<T: DeserializeOwned>(body: &[u8]) -> Result<T, AnswerError> {
    let envelope: Envelope<T> = serde_json::from_slice(body).map_err(AnswerError::Malformed)?;
    if envelope.status != "success" {
        return Err(AnswerError::Refused {
            kind: envelope.error_type.unwrap_or_else(|| envelope.status.clone()),
            text: envelope.error.unwrap_or_default(),
        });
    }
    if let Some(text) = envelope.warnings.into_iter().next() {
        return Err(AnswerError::Partial { text });
    }
    envelope.data.ok_or(AnswerError::NoData)
}

#[derive(Deserialize)]
struct Envelope<T> {
    status: String,
    data: Option<T>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    // Remarks on the query's style come as `infos` and cast no doubt on the answer.
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
    Scalar(Pair),
    String(serde::de::IgnoredAny),
}

/// A time in seconds and a number as text.
#[derive(Deserialize)]
struct Pair(f64, String);

#[derive(Deserialize)]
struct Instant {
    metric: Labels,
    /// Missing where the series is of native histograms.
    value: Option<Pair>,
}

#[derive(Deserialize)]
struct Range {
    metric: Labels,
    #[serde(default)]
    values: Vec<Pair>,
}

impl From<Pair> for Point {
    fn from(Pair(seconds, text): Pair) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates; such times are refused later"
        )]
        let at = (seconds * 1000.0).round() as i64;
        Self { at, value: exposition::number(&text).unwrap_or(f64::NAN) }
    }
}

impl From<Instant> for Series {
    fn from(instant: Instant) -> Self {
        let points = instant.value.into_iter().map(Point::from).collect();
        Self { labels: instant.metric, points }
    }
}

impl From<Range> for Series {
    fn from(range: Range) -> Self {
        let mut points: Vec<Point> = range.values.into_iter().map(Point::from).collect();
        points.sort_by_key(|point| point.at);
        Self { labels: range.metric, points }
    }
}
