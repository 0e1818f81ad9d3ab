use super::read::Reader;
use super::write::Log;
use super::*;

fn all(reader: &mut Reader) -> Vec<(Stream, bool, Vec<u8>)> {
    let mut entries = Vec::new();
    while let Some(entry) = reader.entry().unwrap() {
        entries.push((entry.stream, entry.is_whole, entry.text.to_vec()));
    }
    entries
}

fn texts(reader: &mut Reader) -> Vec<String> {
    all(reader).into_iter().map(|(_, _, text)| String::from_utf8(text).unwrap()).collect()
}

const SMALL: Limits = Limits { bytes: 200, files: 3 };

#[test]
fn bytes_stay_what_they_were() {
    let place = tempfile::tempdir().unwrap();
    let mut log = Log::open(place.path(), DEFAULT).unwrap();
    log.write(Stream::Stdout, b"one\ntwo \xff\0\r\n\nrest");
    log.write(Stream::Stderr, b"F of P\n");
    log.write(Stream::Stdout, b"\n");
    let mut reader = Reader::open(place.path(), None).unwrap();
    let expected: [(Stream, bool, &[u8]); 6] = [
        (Stream::Stdout, true, b"one"),
        (Stream::Stdout, true, b"two \xff\0\r"),
        (Stream::Stdout, true, b""),
        (Stream::Stdout, false, b"rest"),
        (Stream::Stderr, true, b"F of P"),
        (Stream::Stdout, true, b""),
    ];
    assert_eq!(all(&mut reader), expected.map(|(a, b, c)| (a, b, c.to_vec())));
    log.write(Stream::Stdout, b"more\n");
    assert_eq!(texts(&mut reader), ["more"], "what comes later is read, too");
    assert_eq!(texts(&mut reader), [""; 0]);
}

#[test]
fn a_reader_follows_through_new_files_and_no_more_are_kept_than_may_be() {
    let place = tempfile::tempdir().unwrap();
    let mut log = Log::open(place.path(), SMALL).unwrap();
    let mut reader = Reader::open(place.path(), None).unwrap();
    let mut read = Vec::new();
    let numbers: Vec<String> = (0..40).map(|number| format!("number {number}")).collect();
    for number in &numbers {
        log.write(Stream::Stdout, format!("{number}\n").as_bytes());
        if !number.ends_with('7') {
            read.extend(texts(&mut reader));
        }
    }
    read.extend(texts(&mut reader));
    assert_eq!(read, numbers);
    assert!(!reader.has_missed_some());
    let sizes: Vec<u64> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|it| it.unwrap().metadata().unwrap().len())
        .collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|&size| size <= 200), "{sizes:?}");
    let kept = texts(&mut Reader::open(place.path(), None).unwrap());
    assert!(kept.len() > 5 && numbers.ends_with(&kept), "{kept:?}");
    for count in [0, 1, 2, 4, kept.len(), 100] {
        let last = texts(&mut Reader::open(place.path(), Some(count)).unwrap());
        assert_eq!(last, kept[kept.len() - count.min(kept.len())..], "the last {count}");
    }
}

#[test]
fn one_file_is_begun_anew() {
    let place = tempfile::tempdir().unwrap();
    let mut log = Log::open(place.path(), Limits { files: 1, ..SMALL }).unwrap();
    (0..20).for_each(|number| log.write(Stream::Stdout, format!("{number}\n").as_bytes()));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    assert_eq!(texts(&mut Reader::open(place.path(), None).unwrap()).last().unwrap(), "19");
}

#[test]
fn what_finds_no_room_is_counted() {
    let place = tempfile::tempdir().unwrap();
    let mut log = Log::open(place.path(), Limits { files: 2, ..SMALL }).unwrap();
    log.write(Stream::Stdout, &[b'x'; 150]);
    // A new file is due, and cannot be begun: what should move there is in the way.
    std::fs::create_dir_all(place.path().join("output.log.1/full")).unwrap();
    log.write(Stream::Stdout, b"is lost\n");
    log.write(Stream::Stderr, b"this too\n");
    std::fs::remove_dir_all(place.path().join("output.log.1")).unwrap();
    log.write(Stream::Stdout, b"is there\n");
    let kept = texts(&mut Reader::open(place.path(), None).unwrap());
    assert_eq!(kept[1..], ["cofferdam: 17 bytes of output found no room here", "is there"]);
}

#[test]
fn what_is_none_of_ours_is_passed_over() {
    let place = tempfile::tempdir().unwrap();
    let good = "2026-01-02T03:04:05.000000006Z stderr F good";
    let lines =
        ["", "nonsense", "2026-01-02T03:04:05Z stdin F x", "soon stdout F x", good, "2026-01-0"];
    std::fs::write(place.path().join(NAME), lines.join("\n")).unwrap();
    assert_eq!(texts(&mut Reader::open(place.path(), None).unwrap()), ["good"]);
    assert_eq!(texts(&mut Reader::open(place.path(), Some(1)).unwrap()), ["good"]);
    std::fs::write(place.path().join(NAME), vec![b'x'; 3 << 20]).unwrap();
    assert!(Reader::open(place.path(), None).unwrap().entry().is_err());
    std::fs::remove_file(place.path().join(NAME)).unwrap();
    assert_eq!(
        texts(&mut Reader::open(place.path(), None).unwrap()),
        [""; 0],
        "nothing was written"
    );
    std::os::unix::fs::symlink("/etc/passwd", place.path().join(NAME)).unwrap();
    assert!(Reader::open(place.path(), None).is_err());
}

#[test]
fn options_are_dockers() {
    let of = |options: &[&str]| {
        Limits::from_options(&options.iter().map(|&it| it.to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(of(&[]), Ok(DEFAULT));
    assert_eq!(of(&["max-size=1m", "max-file=2"]), Ok(Limits { bytes: 1 << 20, files: 2 }));
    for wrong in ["max-size=1k", "max-file=0", "max-file=x", "max-size"] {
        assert!(of(&[wrong]).is_err(), "{wrong}");
    }
    assert_eq!(of(&["tag=x"]), Err(LogOptionError::Unknown("tag=x".to_owned())));
}

#[test]
fn a_reader_that_is_outrun_knows_it() {
    let place = tempfile::tempdir().unwrap();
    let mut log = Log::open(place.path(), SMALL).unwrap();
    let mut reader = Reader::open(place.path(), None).unwrap();
    log.write(Stream::Stdout, b"first\n");
    assert_eq!(texts(&mut reader), ["first"]);
    for number in 0..40 {
        log.write(Stream::Stdout, format!("number {number}\n").as_bytes());
    }
    let read = texts(&mut reader);
    assert!(read.len() < 40 && read.last().unwrap() == "number 39", "{read:?}");
    assert!(reader.has_missed_some());
    assert!(!reader.has_missed_some(), "it says so once");
}
