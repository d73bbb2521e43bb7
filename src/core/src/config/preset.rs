//! `scale`: sizes that go together, so that a first experiment need not choose each. They are filled in below what the file
//! itself states, and the resolved config has them written out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Table;

/// Sizes of model, batch and training for a machine and a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// Two layers of width 128 with 64 tokens of context, 2,000 steps of 8 sequences: about a minute on two CPU cores.
    #[serde(rename = "demo")]
    Demo,
    /// Six layers of width 288 with 256 tokens of context, 1,200 steps of 8 sequences in bfloat16: some minutes on two CPU
    /// cores.
    #[serde(rename = "books")]
    Books,
    /// Twelve layers of width 768 with 1,024 tokens of context (GPT-2 small), 128 sequences a step in passes of 16, in bfloat16:
    /// as many steps as one GPU makes in an hour. By arithmetic, never run: 5.8 GiB of memory, and at 35 % of the peak rates of NVIDIA's
    /// white papers 20 tokens for each parameter on an H100 or H200, 6 on an A100, 3 on an RTX 4090, where 8 layers of width 512 would be
    /// nearer to the best use of the hour (docs/guide.md).
    #[serde(rename = "gpu-1h")]
    GpuHour,
}

impl Preset {
    /// What it states, as a config file would.
    pub(super) fn table(self) -> Table {
        let text = match self {
            Preset::Demo => {
                "model = { layers = 2, heads = 4, width = 128, context_length = 64 }\n\
                 training = { steps = 2000, batch_size = 8, precision = \"f32\" }"
            }
            Preset::Books => {
                "model = { layers = 6, heads = 6, width = 288, context_length = 256 }\n\
                 training = { steps = 1200, batch_size = 8, precision = \"bf16\" }"
            }
            Preset::GpuHour => {
                "model = { layers = 12, heads = 12, width = 768, context_length = 1024 }\n\
                 training = { budget = { wall_time_s = 3600.0 }, batch_size = 128, micro_batch_size = 16, precision = \"bf16\" }"
            }
        };
        toml::from_str(text).expect("it is TOML")
    }
}
