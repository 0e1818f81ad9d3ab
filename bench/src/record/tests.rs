use super::*;
use proptest::prelude::*;

/// Two workloads at two layers; the second fails at the second layer.
pub(crate) fn record() -> Record {
    let layer = |name: &str, scope: &str| Layer { name: name.into(), scope: scope.into() };
    let workload = |name: &str, unit, better| Workload {
        name: name.into(),
        group: "kernel".into(),
        unit,
        better,
        scope: "a program, on data".into(),
    };
    let samples = |from: f64| (0..8).map(|step| from + f64::from(step) / 100.0).collect();
    Record {
        version: VERSION,
        begun: "2026-01-02T03:04:05Z".into(),
        command: vec!["bench".into(), "--layers".into(), "host,nested".into()],
        machine: Machine {
            processor: "a processor".into(),
            processors: 2,
            memory_mib: 4096,
            kernel: "6.1.0".into(),
            guest_kernel: "6.12.1".into(),
            accelerator: "kvm".into(),
            emulated: false,
        },
        layers: vec![
            layer("host", "where the launcher stands"),
            layer("nested", "a container in the VM"),
        ],
        workloads: vec![
            workload("fork", Unit::Seconds, Better::Less),
            workload("pipe", Unit::BytesPerSecond, Better::More),
        ],
        repeats: 8,
        warmups: 1,
        cells: vec![
            Cell { workload: 0, layer: 0, samples: samples(1.0), failure: None },
            Cell { workload: 0, layer: 1, samples: samples(1.5), failure: None },
            Cell { workload: 1, layer: 0, samples: samples(2e9), failure: None },
            Cell { workload: 1, layer: 1, samples: vec![], failure: Some("exit status 3".into()) },
        ],
        surfaces: vec![
            surface(0, 900, (&[("execve", 1.0), ("read", 20.0)], None)),
            surface(1, 2100, (&[("execve", 3.0), ("read", 2000.0)], Some(&[("npf", 1041.0)]))),
        ],
        noise_ns: vec![1e6, 1.01e6, 0.99e6],
        ended: Ended::Complete,
    }
}

/// What a start reaches at a layer.
type Pairs<'a> = &'a [(&'a str, f64)];
fn surface(
    layer: usize,
    functions: u64,
    (calls, exits): (Pairs<'_>, Option<Pairs<'_>>),
) -> Surface {
    let map = |pairs: Pairs<'_>| pairs.iter().map(|(name, it)| ((*name).into(), *it)).collect();
    let (calls, exits) = (map(calls), exits.map(map));
    let reached = Some(Reached { calls, exits, functions: Some(functions) });
    Surface { work: "a start".into(), layer, units: 1, reached, failure: None }
}

/// A record that somebody changed, read.
fn read(change: impl FnOnce(&mut Record)) -> Result<Record, RecordError> {
    let mut record = record();
    change(&mut record);
    Record::read(record.to_json().unwrap().as_bytes())
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(read(|_| ()).unwrap(), record());
}

#[test]
fn what_does_not_hold_together_is_refused() {
    let says = |change: fn(&mut Record)| read(change).unwrap_err().to_string();
    assert!(says(|it| it.version = 2).contains("its format is 2"));
    assert!(says(|it| it.cells[3].layer = 0).contains("workload 1 at layer 0"));
    assert!(says(|it| it.cells[3].layer = 2).contains("workload 1 at layer 2"));
    assert!(
        says(|it| it.layers[1].name = "host".into()).contains("two layers are called \"host\"")
    );
    assert!(says(|it| it.workloads[0].name.clear()).contains("\"\" is empty"));
    assert!(says(|it| it.begun = "\x1b[2J".into()).contains("control characters"));
    assert!(says(|it| it.cells[0].samples[0] = -1.0).contains("-1 is no figure"));
    assert!(says(|it| it.noise_ns[0] = 1e300).contains("is no figure"));
    assert!(says(|it| it.cells[0].samples = vec![1.0; MAX_SAMPLES + 1]).contains("1001 samples"));
    assert!(says(|it| it.surfaces[1].layer = 2).contains("at layer 2 is of no layer"));
    assert!(says(|it| it.surfaces[0].work.clear()).contains("\"\" is empty"));
    let absurd = |it: &mut Record| {
        it.surfaces[0].reached.as_mut().unwrap().calls.insert("read".into(), -2.0);
    };
    assert!(read(absurd).unwrap_err().to_string().contains("-2 is no figure"));
    let other = Record::read(b"{\"version\": 1}").unwrap_err();
    assert!(matches!(other, RecordError::Json(_)), "{other}");
    assert!(matches!(Record::read(&vec![b' '; MAX_RECORD_BYTES + 1]), Err(RecordError::Length(_))));
}

proptest! {
    #[test]
    fn a_damaged_record_harms_nobody(at in 0usize..3000, byte: u8) {
        let mut text = record().to_json().unwrap().into_bytes();
        let at = at % text.len();
        text[at] = byte;
        if let Ok(record) = Record::read(&text) {
            let _ = crate::report::markdown(&record);
            let _ = crate::report::html(&record);
        }
    }
}
