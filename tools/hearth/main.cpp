// The `hearth` command: a table of subcommands, and what an error looks like.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <new>

#include "base/error.h"
#include "tools/hearth/command_table.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitError = 1;
constexpr int kExitDevice = 3;
constexpr std::size_t kMaxMessageBytes = 2000;  // one line, whatever a path or a file holds

constexpr Subcommand kSubcommands[] = {
    {"run", "Generate text from a prompt", tools::run},
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
};

constexpr CommandTable kHearth = {
    .command = "hearth",
    .summary = "hearth runs Mixture-of-Experts language models that are larger than memory.",
    .subcommands = kSubcommands,
    .footer = " 'hearth --version' prints " HEARTH_VERSION ".",
};

int dispatch(const Arguments& arguments) {
  if (!arguments.empty() && (arguments[0] == "--version" || arguments[0] == "version")) {
    fmt::print("hearth {}\n", HEARTH_VERSION);
    return kExitOk;
  }
  return run_subcommand(kHearth, arguments);
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

int exit_code_of(ErrorCode code) {
  if (code == ErrorCode::kUsage) return kExitUsage;
  return code == ErrorCode::kDevice ? kExitDevice : kExitError;
}

int guarded_run(const Arguments& arguments) {
  try {
    return flush(dispatch(arguments));
  } catch (const Interrupted&) {
    return kExitInterrupted;
  } catch (const Error& error) {
    return fail(error.what(), exit_code_of(error.code()));
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
