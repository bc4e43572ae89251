//! Rollback: undo steps that are journalled before each change, and their execution, at once or
//! later.

pub(super) mod in_the_way;
pub(super) mod owners;
pub(super) mod recover;
pub(super) mod step_result;
pub(super) mod undo;
pub(super) mod undo_later;
pub(super) mod undo_pool;
pub(super) mod undo_since;
pub(super) mod undo_step;
pub(super) mod undo_way;
pub(super) mod unwind;
pub(super) mod used;
