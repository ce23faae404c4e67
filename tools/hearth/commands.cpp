// The subcommands of `hearth`: the one table of them.
#include "tools/hearth/command_table.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

constexpr Subcommand kSubcommands[] = {
    {"run", "Generate text from a prompt", run},
    {"chat", "Talk with a model, turn by turn", chat},
    {"bench", "Measure prefill and decode, with what each link did", bench},
    {"profile", "Learn where a model's experts are hot: record, show, compare, check", profile},
    {"perplexity", "Measure how well a model predicts a text", perplexity},
    {"kld", "Compare the predictions of two runs", kld},
    {"logits", "Write the logits and expert choices for a sequence of tokens", logits},
    {"doctor", "Measure this machine and say what limits it", doctor},
    {"plan", "Say what a model would take and how fast it would run, before it does", plan},
    {"inspect", "Describe a model file: shape, formats, experts, memory per token", inspect},
    {"trace", "Describe, measure or make up a trace: the experts that routers chose", trace},
    {"replay", "Judge cache policies on traces: hit rates, bytes, the choice", replay},
    {"tokenize", "Show the tokens of a text", tokenize},
    {"synth", "Write a random model of a given shape, for measurements", synth},
    {"manual", "Write the manual pages, and completions for bash, zsh and fish", manual},
};

constexpr CommandTable kHearth = {
    .command = "hearth",
    .summary = "hearth runs Mixture-of-Experts language models that are larger than memory.",
    .subcommands = kSubcommands,
    .footer = " 'hearth --version' says how this one was built.",
};

}  // namespace

const CommandTable& hearth_commands() { return kHearth; }

}  // namespace hearth::tools
