use super::*;

fn delivery(task: &str, address: &str) -> Delivery {
    Delivery {
        key: Fingerprint::from_bytes([7; 32]),
        task_id: task.to_owned(),
        address: address.to_owned(),
        client: "alice".to_owned(),
        path: "/v1/videos".to_owned(),
        base: "http://localhost:8787".to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
        attempts: 0,
        state: DeliveryState::Waiting,
    }
}

fn put(outbox: &Outbox, delivery: &Delivery) -> Option<Delivery> {
    let mut keep = |_: Option<&Delivery>| DeliveryChange::Put(Box::new(delivery.clone()));
    outbox.change(&delivery.id(), &mut keep).unwrap()
}

#[test]
fn those_of_a_job_are_found_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::in_dir(dir.path().join("callbacks"));
    assert_eq!(outbox.of_job("task_1").unwrap(), []);
    let mut all = Vec::new();
    for (task, address) in [("task_1", "a"), ("task_1", "b"), ("task_2", "a")] {
        let delivery = delivery(task, address);
        assert_eq!(put(&outbox, &delivery).as_ref(), Some(&delivery));
        all.push(delivery);
    }
    let mut of_job = outbox.of_job("task_1").unwrap();
    of_job.sort_by(|one, other| one.address.cmp(&other.address));
    assert_eq!(of_job, all[..2]);
    let mut listed = 0;
    let mut count = |_| {
        listed += 1;
        ControlFlow::Continue(())
    };
    outbox.list(&mut count).unwrap();
    assert_eq!(listed, 3);
}

#[test]
fn one_is_changed_in_turn_and_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::in_dir(dir.path().join("callbacks"));
    let mut delivery = delivery("task_1", "https://a.example/?token=1");
    put(&outbox, &delivery);
    delivery.attempts = 2;
    delivery.state = DeliveryState::Due {
        next_at: Timestamp::UNIX_EPOCH,
        kept: true,
        body: "{\"a\": \"\u{e4}\\u0000\"}".to_owned(),
    };
    put(&outbox, &delivery);
    let mut look = |standing: Option<&Delivery>| {
        assert_eq!(standing, Some(&delivery));
        DeliveryChange::Nothing
    };
    let same = outbox.change(&delivery.id(), &mut look).unwrap();
    assert_eq!(same.as_ref(), Some(&delivery));
    let mut remove = |_: Option<&Delivery>| DeliveryChange::Remove;
    assert_eq!(outbox.change(&delivery.id(), &mut remove).unwrap(), None);
    assert_eq!(outbox.of_job("task_1").unwrap(), []);
}

/// What version 1 wrote has to be read for ever.
#[test]
fn a_file_of_format_1_is_read() {
    const FILE: &str = concat!(
        r#"{"format":1,"key":"0707070707070707070707070707070707070707070707070707070707070707","#,
        r#""task_id":"task_1","address":"a","client":"alice","path":"/v1/videos","#,
        r#""base":"http://localhost:8787","created_at":"1970-01-01T00:00:00Z","attempts":1,"#,
        r#""state":{"is":"due","next_at":"1970-01-01T00:00:00Z","kept":true,"body":"{}"}}"#
    );
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::in_dir(dir.path().join("callbacks"));
    let mut written = delivery("task_1", "a");
    written.attempts = 1;
    written.state = DeliveryState::Due {
        next_at: Timestamp::UNIX_EPOCH,
        kept: true,
        body: "{}".to_owned(),
    };
    let name = written.id().to_string();
    assert_eq!(
        name,
        "8e22e81245c68b2f7654e65f72aa6fed9cd2dfba02d49d104db69437397b7cfe"
    );
    let folder = outbox.root.join(&name[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.json")), FILE).unwrap();
    assert_eq!(outbox.of_job("task_1").unwrap(), [written.clone()]);
    put(&outbox, &written);
    let bytes = std::fs::read(outbox.path(&written.id())).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), FILE);
}

#[test]
fn what_is_damaged_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::in_dir(dir.path().join("callbacks"));
    let (whole, torn) = (delivery("task_1", "a"), delivery("task_1", "b"));
    put(&outbox, &whole);
    put(&outbox, &torn);
    let path = outbox.path(&torn.id());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    // Another one's content under this name is no more believed.
    let stray = delivery("task_1", "c");
    std::fs::write(outbox.path(&stray.id()), &bytes).unwrap();
    assert_eq!(outbox.of_job("task_1").unwrap(), [whole]);
    assert_eq!(put(&outbox, &torn), Some(torn));
}
