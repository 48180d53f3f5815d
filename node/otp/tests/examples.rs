//! What the examples print.

#[expect(dead_code, reason = "an example's main is not called here")]
#[path = "../examples/door_lock.rs"]
mod door_lock;
#[expect(dead_code, reason = "an example's main is not called here")]
#[path = "../examples/hello_processes.rs"]
mod hello_processes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_processes_says_hello() {
    let mut out = Vec::new();
    hello_processes::tell(&mut out).await.unwrap();
    let expected = "\
hello, whoever you are
hello, world
the greeter ended: normal
asked again: the process is not alive
jobs were done in this order: 3, 4, 1, 2
a child is down: homesick; its link told of it, too: true
the task ended without a value: panic: on purpose
a ring of 1000 processes counted to 1000
processes left: 0
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_lock_opens_to_its_code_only() {
    let mut out = Vec::new();
    door_lock::tell(&mut out).await.unwrap();
    let expected = "\
the door is Locked
[1, 2, 3, 5] is wrong
somebody leans against the door
[1, 2] is forgotten
the door is Open
somebody comes in
the door is Locked
the lock's process ended: it burnt down
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
