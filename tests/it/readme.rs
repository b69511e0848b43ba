//! What the README says of roles and permissions, against the code.

use keyledger::kernel::{Builtin, Permission};

/// A line of the table: a permission, and which role holds it.
fn line(permission: Permission) -> String {
    let cell = |role: Builtin| if role.permissions().holds(permission) { "x" } else { " " };
    let cells: Vec<&str> = Builtin::ALL.into_iter().map(cell).collect();
    format!("| `{}` | {} |", permission.name(), cells.join(" | "))
}

#[test]
fn the_table_of_roles_is_that_of_the_code() {
    let readme = include_str!("../../README.md");
    let lines: Vec<String> = Permission::ALL.iter().copied().map(line).collect();
    assert!(readme.contains(&lines.join("\n")), "the README's table must read:\n{}", lines.join("\n"));
    let names: Vec<&str> = Builtin::ALL.into_iter().map(Builtin::name).collect();
    assert!(readme.contains(&format!("| permission | {} |", names.join(" | "))));
}
