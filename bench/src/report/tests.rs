use super::*;
use crate::comparison::Comparison;
use crate::record::tests::record;

#[test]
fn the_terminal_says_it_all_in_its_columns() {
    let mut record = record();
    record.cells[0].samples.push(9.0);
    let text = terminal(&record, 80);
    let rows: Vec<&str> = text.lines().skip_while(|line| *line != "KERNEL").skip(1).collect();
    assert_eq!(
        rows[..7],
        [
            "fork (less is better): a program, on data",
            "  host           1.04 s   ± 2.9 %    1.00×  ████████████████████████▍",
            "          1 severe outlier",
            "  nested         1.54 s   ± 2.3 %    1.48×  ████████████████████████████████████",
            "pipe (more is better): a program, on data",
            "  host       1.86 GiB/s   ± 0.0 %    1.00×  ████████████████████████████████████",
            "  nested  failed: exit status 3",
        ]
    );
    let wide = terminal(&record, 80);
    let surface: Vec<&str> = wide.lines().skip_while(|line| *line != "a start").skip(1).collect();
    assert_eq!(
        surface,
        [
            "  host           21 calls,   2 different: read 20, execve 1",
            "                900 functions of the kernel",
            "  nested       2003 calls,   2 different: read 2000, execve 3",
            "               1041 exits of KVM: npf 1041",
            "               2100 functions of the kernel",
        ]
    );
    for columns in [40, 60, 80, 200] {
        let text = terminal(&record, columns);
        let longest = text
            .lines()
            .filter(|line| !line.contains("severe"))
            .map(|line| line.chars().count())
            .max();
        assert!(longest <= Some(columns.max(48)), "{text}");
    }
}

#[test]
fn an_emulator_is_named_first() {
    let mut record = record();
    assert!(!terminal(&record, 80).contains("emulator"));
    record.machine.emulated = true;
    record.ended = Ended::Interrupted;
    assert!(terminal(&record, 80).starts_with("This measures an emulator (kvm)"));
    let second = markdown(&record).lines().nth(2).unwrap().to_owned();
    assert!(second.starts_with("This measures an emulator"), "{second}");
    let page = html(&record);
    let first = page.split("<p").nth(1).unwrap();
    assert!(first.contains("This measures an emulator"), "{first}");
    for text in [terminal(&record, 200), markdown(&record), page] {
        assert!(text.contains("It was interrupted"), "{text}");
    }
}

/// A record is data, from a stranger perhaps.
#[test]
fn what_a_record_says_is_no_markup() {
    let mut record = record();
    record.layers[1].name = "<script>|*x*</script>".into();
    record.cells[3].failure = Some("\"><img src=x>".into());
    let page = html(&record);
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;"));
    let text = markdown(&record);
    assert!(text.contains("\\<script\\>\\|\\*x\\*\\</script\\>"), "{text}");
}

#[test]
fn each_report_has_each_figure() {
    let record = record();
    for text in [terminal(&record, 100), markdown(&record), html(&record)] {
        for wanted in ["1.04 s", "1.54 s", "1.48×", "1.86 GiB/s", "exit status 3", "Linux 6.1.0"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
    assert_eq!(html(&record).matches("<svg").count(), 3);
}

#[test]
fn changes_are_told() {
    let (old, mut new) = (record(), record());
    new.cells[1].samples.iter_mut().for_each(|sample| *sample *= 2.0);
    new.cells[2].samples.clear();
    let text = changes(&Comparison::of(&old, &new), &old, 80);
    assert_eq!(
        text,
        "worse   fork at nested: 1.54 s → 3.07 s (+100 %)\ngone    pipe at host: it was measured then\n\
         1 the same within noise and 5 %\n"
    );
}
