use super::*;
use serde_json::json;

#[test]
fn every_shape_of_a_result() {
    let clip = "https://storage.example/clip.mp4?sig=a&x=1";
    let frame = "https://storage.example/frame.png";
    let ark = json!({"id": "cgt-1", "status": "succeeded", "content": {"video_url": clip, "last_frame_url": frame}});
    let table = [
        (
            "as documented",
            json!({"task_id": "t", "status": "succeeded", "url": clip, "format": "mp4"}),
            vec![clip],
        ),
        (
            "as the seed says",
            json!({"task_id": "t", "status": "succeeded", "video_url": clip}),
            vec![clip],
        ),
        (
            "as resellers say",
            json!({"task_id": "t", "status": "Success", "result_url": clip}),
            vec![clip],
        ),
        (
            "as captured, twice the same",
            json!({"code": "success", "message": "", "data": {"id": 9, "task_id": "t", "status": "SUCCESS",
                "fail_reason": "", "result_url": clip, "data": ark}}),
            // serde_json's map is sorted: `data` comes before `result_url`.
            vec![frame, clip],
        ),
        (
            "a gateway behind a gateway",
            json!({"code": "success", "data": {"task_id": "t", "status": "SUCCESS", "result_url": "",
                "data": {"code": "success", "data": {"task_id": "u", "status": "SUCCESS", "data": ark}}}}),
            vec![frame, clip],
        ),
        (
            "OpenAI's video",
            json!({"id": "t", "object": "video", "status": "completed", "metadata": {"url": clip}}),
            vec![clip],
        ),
        (
            "Gemini's",
            json!({"code": "success", "data": {"task_id": "t", "status": "succeeded", "url": clip, "metadata": null}}),
            vec![clip],
        ),
        (
            "an old gateway",
            json!({"code": "success", "data": {"task_id": "t", "status": "SUCCESS", "fail_reason": clip}}),
            vec![clip],
        ),
        (
            "DashScope's",
            json!({"code": "success", "data": {"task_id": "t", "status": "SUCCESS", "data": {"output": {"video_url": clip}}}}),
            vec![clip],
        ),
        (
            "xAI's",
            json!({"status": "completed", "video": {"url": clip}}),
            vec![clip],
        ),
        (
            "images",
            json!({"created": 1, "data": [{"url": clip}, {"b64_json": "AA"}, {"url": frame, "revised_prompt": "p"}]}),
            vec![clip, frame],
        ),
        (
            "an image of a model's answer",
            json!({"status": "succeeded", "content": {"image_url": frame, "file_url": clip}}),
            vec![clip, frame],
        ),
    ];
    for (name, answer, expected) in table {
        let mut found = find(answer.to_string().as_bytes());
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_is_no_result_is_left() {
    let link = "https://client.example/reference.png";
    let table = [
        (
            "an input in metadata",
            json!({"task_id": "t", "status": "succeeded", "metadata": {
            "content": [{"type": "image_url", "image_url": {"url": link}, "role": "reference_image"}],
            "callback_url": link, "data": {"url": link}}}),
        ),
        (
            "an input beside the result",
            json!({"status": "succeeded", "image": link, "image_url": link,
            "images": [{"url": link}], "input_reference": {"url": link}, "input": {"url": link}}),
        ),
        (
            "content as it was asked with",
            json!({"status": "succeeded",
            "content": [{"type": "video_url", "video_url": {"url": link}}, {"url": link}]}),
        ),
        (
            "what was asked",
            json!({"status": "succeeded", "request": {"url": link}, "properties": {"url": link}}),
        ),
        (
            "addresses",
            json!({"status": "succeeded", "callback_url": link, "upload_url": link, "webhook": {"url": link}}),
        ),
        (
            "a failed job",
            json!({"code": "success", "data": {"task_id": "t", "status": "FAILURE",
            "fail_reason": link, "result_url": link}}),
        ),
        (
            "a running job",
            json!({"task_id": "t", "status": "running", "url": link}),
        ),
        (
            "an unknown word",
            json!({"task_id": "t", "status": "moderating", "url": link}),
        ),
        (
            "an error",
            json!({"error": {"message": "no", "url": link}, "url": link}),
        ),
        (
            "an error envelope",
            json!({"code": "task_not_exist", "data": null, "url": link}),
        ),
        (
            "no success",
            json!({"success": false, "data": [{"url": link}]}),
        ),
        (
            "a reason that is none of a job's",
            json!({"data": {"fail_reason": link}}),
        ),
        (
            "no link",
            json!({"status": "succeeded", "url": "", "result_url": "the clip is gone",
            "video_url": "data:video/mp4;base64,AA", "data": {"url": "ftp://a.example/x"}}),
        ),
        (
            "a sentence",
            json!({"status": "succeeded", "url": "https://a.example failed: no such host"}),
        ),
        (
            "a path",
            json!({"status": "succeeded", "url": "/media/a.mp4"}),
        ),
        (
            "half a link",
            json!({"status": "succeeded", "url": "https://", "video_url": "http:a.example"}),
        ),
        (
            "no text",
            json!({"status": "succeeded", "url": 1, "video_url": [link], "result_url": {"url": null}}),
        ),
        ("a string alone", json!(link)),
    ];
    for (name, answer) in table {
        assert_eq!(find(answer.to_string().as_bytes()), [""; 0], "{name}");
    }
    assert!(find(b"").is_empty() && find(b"<html>").is_empty());
    assert!(
        find(b"{\"url\":\"https://a.example/\"").is_empty(),
        "cut off"
    );
}

#[test]
fn escapes_are_decoded() {
    let body = br#"{"data":[{"url":"https:\/\/a.example\/x?a=1\u0026b=2"}]}"#;
    assert_eq!(find(body), ["https://a.example/x?a=1&b=2"]);
}

#[test]
fn depth_number_and_size_are_bounded() {
    let many: Vec<Value> = (0..1000)
        .map(|at| json!({"url": format!("https://a.example/{at}")}))
        .collect();
    let found = find(json!({"data": many}).to_string().as_bytes());
    assert_eq!(found.len(), MOST);
    assert_eq!(found[63], "https://a.example/63");

    let nested = |depth: usize| {
        format!(
            "{}{{\"url\":\"https://a.example/\"}}{}",
            "{\"data\":".repeat(depth),
            "}".repeat(depth)
        )
    };
    assert_eq!(find(nested(100).as_bytes()).len(), 1);
    assert!(find(nested(100_000).as_bytes()).is_empty());

    let long = format!("https://a.example/{}", "a".repeat(LONGEST));
    assert!(find(json!({"url": long}).to_string().as_bytes()).is_empty());
}
