#include "tools/hearth/sampling_flags.h"

#include "base/error.h"

namespace hearth::tools {

void SamplingFlags::add_to(CommandLine& line) {
  line.group("Sampling");
  line.add({.names = "-s,--seed", .value = "N", .help = "of the random draws (-1: a random one)"},
           seed_);
  line.add({.names = "--temp", .value = "T", .help = "temperature; 0 is greedy"},
           options_.temperature);
  line.add({.names = "--top-k", .value = "K", .help = "keep the K most likely (0: off)"},
           options_.top_k);
  line.add(
      {.names = "--top-p", .value = "P", .help = "keep the most likely up to this sum (1: off)"},
      options_.top_p);
  line.add({.names = "--min-p",
            .value = "P",
            .help = "drop those below this share of the best (0: off)"},
           options_.min_p);
  line.add({.names = "--repeat-penalty", .value = "X", .help = "of tokens seen lately (1: off)"},
           options_.repeat_penalty);
  line.add({.names = "--repeat-last-n",
            .value = "N",
            .help = "how far back that looks (0: off, -1: the context)"},
           options_.repeat_last_n);
  line.add({.names = "--presence-penalty", .value = "X", .help = "of tokens seen lately (0: off)"},
           options_.presence_penalty);
  line.add(
      {.names = "--frequency-penalty", .value = "X", .help = "per time they were seen (0: off)"},
      options_.frequency_penalty);
}

void SamplingFlags::check() const {
  const runtime::SamplerOptions& o = options_;
  const auto check_share = [](std::string_view flag, float share) {
    if (!(share >= 0 && share <= 1))
      throw_error(ErrorCode::kUsage, "{} is {}; give 0 to 1", flag, share);
  };
  check_share("--top-p", o.top_p);
  check_share("--min-p", o.min_p);
  if (!(o.repeat_penalty > 0))
    throw_error(ErrorCode::kUsage, "--repeat-penalty is {}; give a number above 0",
                o.repeat_penalty);
  if (o.repeat_last_n < -1)
    throw_error(ErrorCode::kUsage, "--repeat-last-n is {}; give -1 or more", o.repeat_last_n);
}

runtime::SamplerOptions SamplingFlags::options() const {
  runtime::SamplerOptions options = options_;
  if (seed_given()) options.seed = static_cast<std::uint64_t>(seed_);
  return options;
}

}  // namespace hearth::tools
