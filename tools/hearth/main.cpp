// The `hearth` command: a table of subcommands, and what an error looks like.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <new>

#include "base/error.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/nearest_name.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitError = 1;
constexpr int kExitUsage = 2;
constexpr std::size_t kMaxMessageBytes = 2000;  // one line, whatever a path or a file holds

struct Subcommand {
  std::string_view name;
  std::string_view summary;
  int (*run)(const Arguments& arguments);
};

constexpr Subcommand kSubcommands[] = {
    {"run", "Generate text from a prompt", tools::run},
    {"bench", "Measure prefill and decode, with what each link did", bench},
    {"perplexity", "Measure how well a model predicts a text", perplexity},
    {"logits", "Write the logits and expert choices for a sequence of tokens", logits},
    {"inspect", "Describe a model file: shape, formats, experts, memory per token", inspect},
    {"tokenize", "Show the tokens of a text", tokenize},
    {"synth", "Write a random model of a given shape, for measurements", synth},
};

void print_help() {
  fmt::print(
      "hearth runs Mixture-of-Experts language models that are larger than memory.\n\n"
      "Usage: hearth SUBCOMMAND [FLAGS]\n\n");
  for (const Subcommand& subcommand : kSubcommands)
    fmt::print("  {:<12}{}\n", subcommand.name, subcommand.summary);
  fmt::print("\n'hearth SUBCOMMAND --help' lists the flags of one. 'hearth --version' prints {}.\n",
             HEARTH_VERSION);
}

[[noreturn]] void unknown_subcommand(const std::string& name) {
  if (name.starts_with("-"))
    throw_error(ErrorCode::kUsage, "a subcommand comes before {}; 'hearth --help' lists them",
                printable(name));
  std::vector<std::string> names;
  for (const Subcommand& subcommand : kSubcommands) names.emplace_back(subcommand.name);
  const std::string_view nearest = nearest_name(name, names);
  throw_error(ErrorCode::kUsage, "unknown subcommand '{}'; {}'hearth --help' lists all",
              printable(name),
              nearest.empty() ? std::string() : fmt::format("did you mean '{}'? ", nearest));
}

int dispatch(const Arguments& arguments) {
  if (arguments.empty()) {
    print_help();
    return kExitUsage;
  }
  const std::string& name = arguments.front();
  if (name == "--help" || name == "-h" || name == "help") return print_help(), kExitOk;
  if (name == "--version" || name == "version") {
    fmt::print("hearth {}\n", HEARTH_VERSION);
    return kExitOk;
  }
  for (const Subcommand& subcommand : kSubcommands)
    if (subcommand.name == name) return subcommand.run({arguments.begin() + 1, arguments.end()});
  unknown_subcommand(name);
}

// Buffered output that cannot be written (a full disk) is an error too.
int flush(int exit_code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  fmt::print(stderr, "hearth: error: standard output cannot be written; is the disk full?\n");
  return exit_code == kExitOk ? kExitError : exit_code;
}

// Standard streams that the caller closed stay unusable: were their numbers free, the next file to
// be opened would get the output.
void occupy_standard_descriptors() {
  int descriptor = 0;
  while (descriptor >= 0 && descriptor <= STDERR_FILENO)
    descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (descriptor >= 0) close(descriptor);
}

int guarded_run(const Arguments& arguments) {
  try {
    return flush(dispatch(arguments));
  } catch (const Interrupted&) {
    return kExitInterrupted;
  } catch (const Error& error) {
    fmt::print(stderr, "hearth: error: {}\n", printable(error.what(), kMaxMessageBytes));
    return error.code() == ErrorCode::kUsage ? kExitUsage : kExitError;
  } catch (const std::bad_alloc&) {
    std::fputs("hearth: error: out of memory; lower --ram or --ctx-size\n", stderr);
  } catch (const std::exception& error) {
    fmt::print(stderr, "hearth: error: {}\n", printable(error.what(), kMaxMessageBytes));
  }
  return kExitError;
}

}  // namespace
}  // namespace hearth::tools

int main(int argc, char** argv) {
  hearth::tools::occupy_standard_descriptors();
  return hearth::tools::guarded_run({argv + (argc > 0 ? 1 : 0), argv + argc});
}
