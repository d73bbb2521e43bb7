//! Keys that were called otherwise before. A config that is written is refused with the new name as the hint; one that a
//! record holds is read under the new name.

use toml::{Table, Value};

/// Section, the key as it was, and as it is.
const RENAMED: [(&str, &str, &str); 6] = [
    ("model", "initialization_deviation", "init_std"),
    ("model", "future_tokens", "multi_token_prediction"),
    ("model", "future_loss_weight", "multi_token_loss_weight"),
    ("metrics", "layers_every", "tensor_norms_every"),
    ("training", "average_decay", "ema_decay"),
    ("training", "restart_positions", "reset_position_ids"),
];

/// What a key is called now, if it was called `key` before.
pub(super) fn new_name(key: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(_, old, _)| *old == key).map(|(_, _, new)| *new)
}

/// Gives every key of a recorded config the name that it has now.
pub(super) fn rename(config: &mut Table) {
    for (section, old, new) in RENAMED {
        if let Some(Value::Table(section)) = config.get_mut(section)
            && let Some(value) = section.remove(old)
        {
            section.insert(new.to_owned(), value);
        }
    }
}
