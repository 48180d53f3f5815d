//! The page of a drill: one file that needs no net, with the picture, the checks and the history as data.

const PAGE: &str = include_str!("page.html");
const PLACE: &str = "/*STORY*/null";

/// Makes it, of a story as JSON.
pub fn page(story: &str) -> String {
    // Within a script only this can end it, or begin another one.
    let story = story.replace('<', "\\u003c");
    PAGE.replacen(PLACE, &story, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_stands_in_its_page_and_cannot_break_out_of_it() {
        let page = page(r#"{"drill":"</script><b>"}"#);
        assert!(page.contains(r#"const story = {"drill":"\u003c/script>\u003cb>"};"#));
        assert!(!page.contains(PLACE) && page.matches("</script>").count() == 1);
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        assert!(!PAGE.contains("src=") && !PAGE.contains("@import") && PAGE.contains(PLACE));
        let links = PAGE.matches("http").count();
        // The name of a language, which nobody fetches.
        assert_eq!(links, PAGE.matches("http://www.w3.org/2000/svg").count());
    }
}
