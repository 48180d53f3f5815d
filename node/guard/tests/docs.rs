//! What the guide shows is what was run.

#[test]
fn the_statements_in_the_guide_are_those_that_are_tested() {
    let guide = include_str!("../../../docs/FENCING.md");
    for (file, sql) in [
        ("postgres_schema.sql", include_str!("../sql/postgres_schema.sql")),
        ("postgres_admit.sql", include_str!("../sql/postgres_admit.sql")),
        ("postgres_raise.sql", include_str!("../sql/postgres_raise.sql")),
        ("sqlite_schema.sql", include_str!("../sql/sqlite_schema.sql")),
        ("sqlite_admit.sql", include_str!("../sql/sqlite_admit.sql")),
        ("column.sql", include_str!("../sql/column.sql")),
    ] {
        let shown = format!("```sql\n{sql}```\n");
        assert!(guide.contains(&shown), "docs/FENCING.md does not show {file} as it is");
    }
}
