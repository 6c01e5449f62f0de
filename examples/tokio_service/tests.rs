//! The example `tokio_service` at small size, and its front under attack.

use std::sync::Arc;
use std::time::Duration;

use attractor::{Device, Memory, Rule};

use crate::{Arguments, Front, RecallError, compare};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

#[test]
fn the_example_gives_right_answers_in_every_way() {
    for (name, device) in harness::quick_devices() {
        let (tasks, queries) = if device.is_cpu() { (40, 20) } else { (8, 3) };
        let arguments = Arguments { tasks, queries, patterns: 300, dim: 64, batch: 16, device: String::new() };
        let table = runtime().block_on(compare(&arguments, device)).unwrap_or_else(|error| panic!("{name}: {error}"));
        eprintln!("{table}");
        assert!(table.contains("every answer is the stored pattern"), "{name}");
    }
}

/// Pairs of opposite patterns, of which each query recalls its own.
fn memory(device: &Device) -> Arc<Memory> {
    let mut memory = Memory::new(device, 2, Rule::softmax(50.0)).unwrap();
    memory.add(&[1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0]).unwrap();
    Arc::new(memory)
}

fn query(i: usize) -> Vec<f32> {
    vec![if i.is_multiple_of(2) { 0.9 } else { -0.9 }, if (i / 2).is_multiple_of(2) { 0.8 } else { -0.8 }]
}

fn right(i: usize, answer: &[f32]) -> bool {
    answer.iter().zip(query(i)).all(|(a, q)| (a - q.signum()).abs() < 1e-3)
}

#[test]
fn queries_that_are_given_up_or_wrong_do_no_harm() {
    for (name, device) in harness::quick_devices() {
        runtime().block_on(async {
            let (front, service) = Front::start(memory(device), 8);
            let tasks: Vec<_> = (0..60)
                .map(|i| {
                    let front = front.clone();
                    tokio::spawn(async move {
                        match i % 6 {
                            // Given up before it is sent, while it waits, or while it is answered.
                            0 => drop(front.recall(query(i))),
                            1 => drop(tokio::time::timeout(Duration::ZERO, front.recall(query(i))).await),
                            2 => drop(tokio::time::timeout(Duration::from_micros(1200), front.recall(query(i))).await),
                            3 => {
                                let wrong = if i % 4 == 1 { vec![1.0] } else { vec![f32::NAN, 0.0] };
                                assert!(matches!(front.recall(wrong).await, Err(RecallError::Query { expected: 2 })));
                            }
                            _ => assert!(right(i, &front.recall(query(i)).await.unwrap()), "{i}"),
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            drop(front);
            let served = tokio::time::timeout(Duration::from_secs(20), service).await.expect("it ends").unwrap();
            assert!((20..=40).contains(&served.queries), "{name}: {served:?}");
            assert!(served.batches < served.queries, "{name}: nothing was gathered: {served:?}");
        });
    }
}

#[test]
fn what_was_asked_is_answered_when_the_service_ends() {
    for (name, device) in harness::quick_devices() {
        runtime().block_on(async {
            // Room for one: the others wait to be sent.
            let (front, service) = Front::start(memory(device), 1);
            let asked: Vec<_> = (0..10)
                .map(|i| {
                    let front = front.clone();
                    tokio::spawn(async move { right(i, &front.recall(query(i)).await.unwrap()) })
                })
                .collect();
            drop(front);
            for (i, asked) in asked.into_iter().enumerate() {
                assert!(asked.await.unwrap(), "{name}, {i}");
            }
            let served = tokio::time::timeout(Duration::from_secs(20), service).await.expect("it ends").unwrap();
            assert_eq!((served.queries, served.batches), (10, 10), "{name}");

            let (front, service) = Front::start(memory(device), 4);
            service.abort();
            let _ = service.await;
            assert!(matches!(front.recall(query(0)).await, Err(RecallError::Ended)), "{name}");
        });
    }
}

#[test]
fn a_retrieval_that_fails_fails_its_batch_and_nothing_else() {
    for (name, device) in harness::gpus().filter(|(name, _)| name != "swiftshader") {
        let device = harness::reopened(device);
        runtime().block_on(async {
            let (front, service) = Front::start(memory(&device), 4);
            assert!(right(1, &front.recall(query(1)).await.unwrap()), "{name}");
            device.wgpu().unwrap().0.destroy();
            for i in 0..6 {
                let lost = front.recall(query(i)).await.unwrap_err();
                assert!(
                    matches!(&lost, RecallError::Retrieval(error)
                    if matches!(**error, attractor::Error::DeviceLost { .. })),
                    "{name}: {lost}"
                );
            }
            drop(front);
            tokio::time::timeout(Duration::from_secs(20), service).await.expect("it ends").unwrap();
        });
    }
}
