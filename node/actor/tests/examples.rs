//! The examples say what they are expected to say.

#[path = "../examples/selective_receive.rs"]
#[allow(unreachable_pub, reason = "an example's parts")]
mod selective_receive;
#[path = "../examples/ten_thousand_processes.rs"]
#[allow(unreachable_pub, reason = "an example's parts")]
mod ten_thousand_processes;

#[tokio::test]
async fn selective_receive_sees_the_urgent_first() {
    let told = "\
Robert is seen at once
Barbara is seen at once
Tim is 7, and is seen before the grown-ups
Mia is 4, and is seen before the grown-ups
Ada is seen
Joe is seen
";
    assert_eq!(selective_receive::tell().await, told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_processes_stand_in_a_ring() {
    let told = "\
10000 processes stand in a ring
the token went round and says 10000
the one across the ring ended because the bell rang
0 processes are left
";
    assert_eq!(ten_thousand_processes::tell().await, told);
}
