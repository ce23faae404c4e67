// hearth profile: what is known of a model's routing, and its table of subcommands.
#include "tools/hearth/command_table.h"
#include "tools/hearth/profile_verbs.h"

namespace hearth::tools {
namespace {

constexpr Subcommand kVerbs[] = {
    {"record", "Run a text through a model and count what its routers choose", profile_record},
    {"show", "Heat maps, reuse and hit rates, on the terminal or as a page", profile_show},
    {"merge", "Make one profile of several", profile_merge},
    {"diff", "Compare how two workloads use the experts", profile_diff},
    {"check", "Judge a profile, on a text that it has not seen", profile_check},
    {"export", "Write its counts for SGLang, llama.cpp or a spreadsheet", profile_export},
    {"import", "Make a profile of counts that another program recorded", profile_import},
};

constexpr CommandTable kProfile = {
    .command = "hearth profile",
    .summary =
        "A profile says how often each expert of a model is used, how soon again and with whom.\n"
        "It lies beside the model, MODEL.profile.toml, and decides which experts are in memory\n"
        "from the first token on, and which of them make room.",
    .subcommands = kVerbs,
};

}  // namespace

int profile(const Arguments& arguments) { return run_subcommand(kProfile, arguments); }

}  // namespace hearth::tools
