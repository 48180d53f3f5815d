//! The example tells its story, and the story is as it should be.

#[path = "../examples/supervision_tree.rs"]
#[expect(dead_code, reason = "its `main` prints the story, which is compared here")]
mod supervision_tree;

const STORY: &str = "\
The shop opens:
  stock opens
  till opens
  left opens
  right opens
A clerk at a counter fails, which is nobody else's business:
  left closes: a coin is stuck
  left opens
The till fails, and what was opened after it starts again:
  till closes: a coin is stuck
  right closes: shutdown
  left closes: shutdown
  till opens
  left opens
  right opens
The left counter fails too often, so the shop opens all counters again:
  left closes: a coin is stuck
  left opens
  left closes: a coin is stuck
  right closes: shutdown
  left opens
  right opens
The shop closes, last opened first:
  right closes: shutdown
  left closes: shutdown
  till closes: shutdown
  stock closes: shutdown
It has ended: shutdown.
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_survives_its_failures() {
    let mut told = Vec::new();
    supervision_tree::tell(&mut told).await.expect("memory takes every line");
    assert_eq!(String::from_utf8(told).expect("it is text"), STORY);
}
