// The subcommands of `hearth`: each takes the arguments after its name and returns the exit code.
// Errors are thrown; main() prints them.
#pragma once

#include <string>
#include <vector>

namespace hearth::tools {

using Arguments = std::vector<std::string>;

int bench(const Arguments& arguments);
int chat(const Arguments& arguments);
int doctor(const Arguments& arguments);
int inspect(const Arguments& arguments);
int kld(const Arguments& arguments);
int logits(const Arguments& arguments);
int manual(const Arguments& arguments);
int perplexity(const Arguments& arguments);
int plan(const Arguments& arguments);
int profile(const Arguments& arguments);
int replay(const Arguments& arguments);
int run(const Arguments& arguments);
int synth(const Arguments& arguments);
int tokenize(const Arguments& arguments);
int trace(const Arguments& arguments);

}  // namespace hearth::tools
