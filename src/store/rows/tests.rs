use super::super::files::Stamp;
use super::super::row::task_hash;
use super::*;
use crate::generation::Kind;

#[test]
fn a_panic_in_sled_is_an_error() {
    let result: Result<(), IndexError> =
        guarded(|| -> sled::Result<()> { panic!("tried to serialize {}", "Uninitialized") });
    let Err(IndexError::Panicked(text)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(text, "tried to serialize Uninitialized");
}

#[test]
fn a_job_belongs_to_the_generation_that_names_it_last() {
    let dir = tempfile::tempdir().unwrap();
    let rows = Rows::open(dir.path()).unwrap();
    let (one, two) = (
        Fingerprint::from_bytes([1; 32]),
        Fingerprint::from_bytes([2; 32]),
    );
    let stamp = Stamp {
        inode: 7,
        seconds: 8,
        nanoseconds: 9,
        len: 10,
    };
    let row = Row {
        stamp,
        task: Some(task_hash("task")),
        open: false,
        passed_by: false,
        kind: Kind::Video,
        status: 200,
        created_at: Timestamp::UNIX_EPOCH,
        path: String::new(),
        model: None,
        blobs: Vec::new(),
    };
    rows.put(&one, &row).unwrap();
    rows.put(&two, &row).unwrap();
    assert_eq!(rows.find_task(&task_hash("task")).unwrap(), Some(two));
    // Letting go of a job that another has by now takes nothing from that one.
    rows.remove(&one).unwrap();
    assert_eq!(rows.find_task(&task_hash("task")).unwrap(), Some(two));
    rows.put(&two, &Row { task: None, ..row }).unwrap();
    assert_eq!(rows.find_task(&task_hash("task")).unwrap(), None);
}
