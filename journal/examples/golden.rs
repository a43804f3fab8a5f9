//! Makes the golden file of the format that this build writes, from that of the newest one before.

use std::error::Error;
use std::fs;
use std::path::Path;

use weir_journal::{Reader, VERSION, Writer};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let new = folder.join(format!("v{VERSION}.weir"));
    if new.exists() {
        return Err(format!("{} is there already, and stays as it is", new.display()).into());
    }
    let before = fs::read(folder.join(format!("v{}.weir", VERSION - 1)))?;
    let (segment, reader) = Reader::open(&before)?;
    let mut writer = Writer::new(segment.link);
    let mut bytes = writer.header();
    for record in reader {
        bytes.extend(writer.frame(&record?));
    }
    fs::write(new, bytes)?;
    Ok(())
}
