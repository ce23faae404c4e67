// Presets are fitted: their numbers are those for which generated traces come closest to what was
// published of the model's routing. tests/profiler/synthetic_presets_test.cpp has the published
// figures, and how far from them the traces may be.
#include "profiler/synthetic_trace.h"

namespace hearth::profiler {
namespace {

const SyntheticRouting kPresets[] = {
    // Hit rates of LRU for 57 to 128 of 256 experts, and misses of its first five layers.
    {.name = "qwen3.6-35b-a3b",
     .layers = 40,
     .experts = 256,
     .experts_per_row = 8,
     .skew = 1.96,
     .moods = {{1.55, 2.9}, {1.83, 234}},
     .first_layer = 0.47,
     .even_layers = 6,
     .layer_spread = 0.16,
     .topic_strength = 1.87},
    // Repeats at the next token and within 8, and what a hot set of one prompt is worth for
    // another.
    {.name = "qwen3-30b-a3b",
     .layers = 48,
     .experts = 128,
     .experts_per_row = 8,
     .skew = 2.13,
     .moods = {{0.70, 4.7}, {2.36, 223}},
     .first_layer = 0.4,
     .even_layers = 2,
     .layer_spread = 0.16,
     .topic_strength = 1.92},
    // Published for the two experts of the highest score, of four.
    {.name = "gpt-oss-120b",
     .layers = 36,
     .experts = 128,
     .experts_per_row = 4,
     .skew = 1.98,
     .moods = {{0.60, 6.6}, {1.46, 228}},
     .first_layer = 0.81,
     .even_layers = 6,
     .layer_spread = 0.11,
     .topic_strength = 1.80},
    // Nearly every expert is used within a paragraph, as in GLM-5 and DeepSeek V3: no cache beats
    // its share of the experts by much.
    {.name = "flat", .layers = 40, .experts = 256, .experts_per_row = 8, .moods = {{0.3, 4}}},
    // Few large experts: what lasts is weak, what repeats is a matter of some tokens.
    {.name = "mixtral-8x7b",
     .layers = 32,
     .experts = 8,
     .experts_per_row = 2,
     .skew = 0.06,
     .moods = {{0.30, 2.2}, {1.01, 17}},
     .layer_spread = 0.08,
     .topic_strength = 0.09},
};

}  // namespace

std::span<const SyntheticRouting> synthetic_presets() { return kPresets; }

const SyntheticRouting* find_synthetic_preset(std::string_view name) {
  for (const SyntheticRouting& preset : kPresets)
    if (preset.name == name) return &preset;
  return nullptr;
}

}  // namespace hearth::profiler
