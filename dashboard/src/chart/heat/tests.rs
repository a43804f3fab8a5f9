use super::*;
use crate::board::track::FINE;
use weir_engine::units::Moment;

fn cell(requests: u32, errors: u32, state: EndpointState) -> Cell {
    Cell { requests, errors, p99_ms: 40.0, share: 0.5, state, known: true }
}

fn matrix(rows: Vec<Vec<Option<Cell>>>) -> Matrix {
    let mut rows = rows;
    for row in &mut rows {
        row.resize(FINE.columns, None);
    }
    Matrix {
        scale: FINE,
        start: Moment::default(),
        addresses: (0..rows.len()).map(|index| format!("{index}").into()).collect(),
        present: rows.len(),
        rows,
    }
}

fn decoded(picture: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(picture));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width, info.height, pixels)
}

#[test]
fn every_cell_is_a_pixel_of_its_level() {
    let serving = EndpointState::Serving;
    let row = [
        cell(100, 0, serving),
        cell(1_000, 1, serving),
        cell(100, 30, serving),
        cell(0, 0, EndpointState::Ejected),
        cell(0, 0, serving),
    ];
    let rows = vec![row.map(Some).to_vec()];
    let (width, height, pixels) = decoded(&png(&matrix(rows), Metric::Errors).unwrap());
    assert_eq!((width, height), (300, 1));
    assert_eq!(pixels[..6], [2, 3, 7, OUT_INDEX, UNKNOWN, UNKNOWN]);
}

#[test]
fn nothing_seen_is_an_empty_picture_rather_than_none() {
    for metric in Metric::ALL {
        let (width, height, pixels) = decoded(&png(&matrix(Vec::new()), metric).unwrap());
        assert_eq!((width, height), (300, 1));
        assert!(pixels.iter().all(|&pixel| pixel == UNKNOWN));
    }
}

#[test]
fn latency_is_told_against_the_usual_one() {
    let slow = Cell { p99_ms: 400.0, ..cell(10, 0, EndpointState::Serving) };
    let row = vec![Some(cell(10, 0, EndpointState::Serving)); 20];
    let mut rows = vec![row.clone(), row];
    rows[1][5] = Some(slow);
    let matrix = matrix(rows);
    let (.., pixels) = decoded(&png(&matrix, Metric::P99).unwrap());
    assert_eq!((pixels[0], pixels[300 + 5]), (2, 6));
    let (row, column, text) = worst(&matrix, Metric::P99).unwrap();
    assert_eq!((row, column, text.as_str()), (1, 5, "10.0 times the usual p99"));
}

#[test]
fn levels_ascend_and_fit_the_palette() {
    for metric in Metric::ALL {
        let bounds: Vec<f64> = metric.scale().iter().map(|level| level.from).collect();
        assert!(bounds.is_sorted() && bounds[0] <= 0.0, "{bounds:?}");
        assert_eq!(legend(metric).len(), metric.scale().len() + 1);
    }
}
