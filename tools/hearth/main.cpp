// The `hearth` command: what runs, and what an error looks like. Its table: commands.cpp.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "kernels/gpu/device.h"
#include "tools/hearth/build_facts.h"
#include "tools/hearth/command_table.h"
#include "tools/hearth/interrupt.h"

namespace hearth::tools {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitError = 1;
constexpr int kExitDevice = 3;
constexpr std::size_t kMaxMessageBytes = 2000;  // one line, whatever a path or a file holds

int dispatch(const Arguments& arguments) {
  if (!arguments.empty() && (arguments[0] == "--version" || arguments[0] == "version")) {
    fmt::print("{}", build_facts());
    return kExitOk;
  }
  return run_subcommand(hearth_commands(), arguments);
}

constexpr const char* kOutputLost = "standard output cannot be written; is the disk full?";
constexpr int kExitReaderLeft = 128 + SIGPIPE;

// Never throws, as fmt::print does where standard error cannot be written.
int fail(std::string_view what, int exit_code) {
  const std::string line = printable(what, kMaxMessageBytes);
  std::fprintf(stderr, "hearth: error: %s\n", line.c_str());
  return exit_code;
}

// Nothing is said of it to a reader who left: `hearth ... | head` ends as other commands do.
int fail_for_lost_output(int exit_code) {
  return reader_left() ? kExitReaderLeft : fail(kOutputLost, exit_code);
}

// Buffered output that cannot be written (a full disk) is an error too.
int flush(int exit_code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  return fail_for_lost_output(exit_code == kExitOk ? kExitError : exit_code);
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
  } catch (const Interrupted& interrupted) {
    return interrupted.exit_code();
  } catch (const Error& error) {
    return fail(error.what(), exit_code_of(error.code()));
  } catch (const std::bad_alloc&) {
    return fail("out of memory; lower --ram or --ctx-size", kExitError);
  } catch (const std::exception& error) {
    if (std::ferror(stdout) != 0) return fail_for_lost_output(kExitError);
    return fail(error.what(), kExitError);
  }
}

}  // namespace
}  // namespace hearth::tools

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond `ulimit -f` is then an error like a full disk
  hearth::tools::occupy_standard_descriptors();
  hearth::kernels::load_kernels_when_opened();
  return hearth::tools::guarded_run({argv + (argc > 0 ? 1 : 0), argv + argc});
}
