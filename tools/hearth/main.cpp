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
    {"doctor", "Measure this machine and say what limits it", doctor},
    {"plan", "Say what a model would take and how fast it would run, before it does", plan},
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

constexpr const char* kOutputLost = "standard output cannot be written; is the disk full?";

// Never throws, as fmt::print does where standard error cannot be written.
int fail(std::string_view what, int exit_code) {
  const std::string line = printable(what, kMaxMessageBytes);
  std::fprintf(stderr, "hearth: error: %s\n", line.c_str());
  return exit_code;
}

// Buffered output that cannot be written (a full disk) is an error too.
int flush(int exit_code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  return fail(kOutputLost, exit_code == kExitOk ? kExitError : exit_code);
}

// The numbers of standard streams that the caller closed would go to the next files to be opened.
// What is written to standard output then fails, and messages are lost, as the caller wants it.
void occupy_standard_descriptors() {
  int descriptor = 0;
  while (descriptor >= 0 && descriptor <= STDERR_FILENO) {
    const int flags = fcntl(STDOUT_FILENO, F_GETFD) < 0 ? O_RDONLY : O_RDWR;
    descriptor = open("/dev/null", flags | O_CLOEXEC);
  }
  if (descriptor >= 0) close(descriptor);
}

int guarded_run(const Arguments& arguments) {
  try {
    return flush(dispatch(arguments));
  } catch (const Interrupted&) {
    return kExitInterrupted;
  } catch (const Error& error) {
    return fail(error.what(), error.code() == ErrorCode::kUsage ? kExitUsage : kExitError);
  } catch (const std::bad_alloc&) {
    return fail("out of memory; lower --ram or --ctx-size", kExitError);
  } catch (const std::exception& error) {
    return fail(std::ferror(stdout) != 0 ? kOutputLost : error.what(), kExitError);
  }
}

}  // namespace
}  // namespace hearth::tools

int main(int argc, char** argv) {
  hearth::tools::occupy_standard_descriptors();
  return hearth::tools::guarded_run({argv + (argc > 0 ? 1 : 0), argv + argc});
}
