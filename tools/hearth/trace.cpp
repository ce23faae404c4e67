// hearth trace: recorded and made-up routing, and its table of subcommands.
#include "tools/hearth/command_table.h"
#include "tools/hearth/trace_verbs.h"

namespace hearth::tools {
namespace {

constexpr Subcommand kVerbs[] = {
    {"show", "Describe a trace: its model, its tokens, and whether it is complete", trace_show},
    {"stats", "Measure how local the routing in a trace is", trace_stats},
    {"synth", "Write the routing of a made-up model", trace_synth},
};

constexpr CommandTable kTrace = {
    .command = "hearth trace",
    .summary =
        "A trace is the sequence of experts that the routers of a model chose, without any text.\n"
        "'hearth run --trace FILE' records one, and 'hearth replay' judges cache policies on it.",
    .subcommands = kVerbs,
};

}  // namespace

int trace(const Arguments& arguments) { return run_subcommand(kTrace, arguments); }

}  // namespace hearth::tools
