// What surrounds a run: limits, environment, kernels, readers, signals, streams, and files that
// change under it. The answer stays the same, or one line says why there is none.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "kernels/cpu_kernels.h"
#include "tests/sanitized.h"
#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {
namespace {

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

CommandRun short_run(const std::string& model = kModel) {
  return {.arguments = {"run", "-m", model, "-p", "Once upon a time", "-n", "8", "--temp", "0",
                        "--expert-ram", "25%", "--no-report"},
          .input = {},
          .environment = {}};
}

// Thousands of tokens, so that something can happen meanwhile, with experts that come from disk.
CommandRun long_run(const std::string& model) {
  return {.arguments = {"run", "-m", model, "-p", "Once upon a time", "-n", "4000", "-c", "4096",
                        "--temp", "0", "--expert-ram", "15%", "--ignore-eos", "--no-report"},
          .input = {},
          .environment = {}};
}

const std::string& right_text() {
  static const std::string text = run_hearth(short_run()).output;
  return text;
}

void expect_right_text(const CommandRun& run) {
  const CommandResult result = run_hearth(run);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.output, right_text());
}

// "hash 0123456789abcdef" of the logits after every token of a text.
std::string hash_of_logits(const std::vector<std::string>& more,
                           std::vector<std::pair<std::string, std::string>> environment = {}) {
  std::vector<std::string> arguments = {"logits",
                                        "-m",
                                        kModel,
                                        "-p",
                                        "The quick brown fox jumps",
                                        "--expert-ram",
                                        "25%",
                                        "-o",
                                        temporary_path("logits.npy")};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const CommandResult result = run_hearth({arguments, {}, std::move(environment)});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  const std::size_t at = result.errors.find("hash ");
  return at == std::string::npos ? result.errors : result.errors.substr(at, 21);
}

void limit(int resource, rlim_t value) {
  const rlimit both = {value, value};
  setrlimit(static_cast<__rlimit_resource>(resource), &both);
}

// Waits until the command has written text, which is after its model was loaded.
// ---- Limits and environment

TEST(Environment, LittleLockedMemory) {
  for (const rlim_t most : {rlim_t{64 << 10}, rlim_t{0}}) {
    CommandRun run = short_run();
    run.prepare = [most] { limit(RLIMIT_MEMLOCK, most); };
    expect_right_text(run);
  }
}

// One beside those that are open: io_uring and direct I/O want more, plain reads do not.
TEST(Environment, FewFileDescriptors) {
  if (::hearth::testing::kSanitized) GTEST_SKIP() << "sanitizers open descriptors of their own";
  CommandRun run = short_run();
  run.prepare = [] {
    const int next = dup(STDERR_FILENO);  // whatever the caller of the tests left open
    close(next);
    limit(RLIMIT_NOFILE, static_cast<rlim_t>(next) + 1);
  };
  expect_right_text(run);
}

// Memory that a report would measure with is not there, which is no reason to lose the session.
TEST(Environment, LittleAddressSpace) {
  if (::hearth::testing::kSanitized) GTEST_SKIP() << "a sanitizer takes the address space";
  const std::string session = temporary_path("little.session");
  CommandRun run = short_run();
  run.arguments.back() = "--session";  // with a report
  run.arguments.push_back(session);
  run.prepare = [] { limit(RLIMIT_AS, rlim_t{250} << 20); };
  expect_right_text(run);
  EXPECT_TRUE(std::filesystem::exists(session));
}

TEST(Environment, AFileLargerThanTheLimitIsOneLine) {
  const std::string file = temporary_path("limited");
  for (const char* flag : {"--session", "--trace"}) {
    CommandRun run = short_run();
    run.arguments.insert(run.arguments.end(), {"--ignore-eos", flag, file});
    *std::find(run.arguments.begin(), run.arguments.end(), "8") = "100";
    run.prepare = [] { limit(RLIMIT_FSIZE, 4000); };  // room for what is said
    expect_error(run_hearth(run), kFailed, {file, "File too large"}, Before::kReport);
    std::filesystem::remove(file);
  }
}

TEST(Environment, EmptyEnvironment) {
  CommandRun run = short_run();
  run.prepare = [] { clearenv(); };
  expect_right_text(run);
  run.prepare = [] { unsetenv("HOME"); };
  expect_right_text(run);
}

TEST(Environment, ReadOnlyDirectoryStaysAsItIs) {
  const std::string folder = temporary_path("read-only"), model = folder + "/model.gguf";
  std::filesystem::create_directory(folder);
  std::filesystem::copy_file(kModel, model);
  chmod(folder.c_str(), 0555);
  CommandRun run = short_run(model);
  run.prepare = [&] { ASSERT_EQ(chdir(folder.c_str()), 0); };
  expect_right_text(run);
  chmod(folder.c_str(), 0755);
  std::set<std::string> names;  // root could have written there all the same
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename());
  EXPECT_EQ(names, std::set<std::string>{"model.gguf"});
  std::filesystem::remove_all(folder);
}

TEST(Environment, EveryInstructionSetGivesTheSameLogits) {
  const std::string expected = hash_of_logits({}, {{"HEARTH_CPU", "scalar"}});
  for (const auto set : {kernels::InstructionSet::kAvx2, kernels::InstructionSet::kAvx512}) {
    const std::string name(kernels::name_of(set));
    if (kernels::supported(set)) {
      EXPECT_EQ(hash_of_logits({}, {{"HEARTH_CPU", name}}), expected) << name;
      continue;
    }
    CommandRun run = short_run();
    run.environment = {{"HEARTH_CPU", name}};
    expect_error(run_hearth(run), kFailed, {"HEARTH_CPU=" + name, "not supported", "unset it"});
  }
  CommandRun run = short_run();
  run.environment = {{"HEARTH_CPU", "mmx"}};
  expect_error(run_hearth(run), kMisused, {"HEARTH_CPU=mmx: unknown", "scalar, avx2 or avx512"});
}

TEST(Environment, EveryReaderGivesTheSameLogits) {
  const std::string expected = hash_of_logits({"--io", "pread"});
  EXPECT_EQ(hash_of_logits({"--io", "pread", "--direct", "off"}), expected);
  EXPECT_EQ(hash_of_logits({"--io", "auto"}), expected);
  CommandRun run = short_run();
  run.arguments.insert(run.arguments.end(), {"--io", "uring"});
  const CommandResult result = run_hearth(run);
  if (result.exit_code == 0) {
    EXPECT_EQ(hash_of_logits({"--io", "uring"}), expected);
  } else {  // a system that refuses io_uring
    expect_error(result, kFailed, {"io_uring", "pread"});
  }
}

// ---- Streams

TEST(Streams, OutputThatCannotBeWritten) {
  const auto full = [] { dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO); };
  const auto closed = [] { close(STDOUT_FILENO); };
  for (const std::function<void()>& prepare : {std::function<void()>(full), {closed}}) {
    CommandRun run = long_run(kModel);
    run.prepare = prepare;
    const auto begin = std::chrono::steady_clock::now();
    expect_error(run_hearth(run), kFailed, {"standard output cannot be written"}, Before::kReport);
    // At the first word, not after thousands of tokens.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"inspect", "-m", kModel},
          {"--help"},
          {"run", "--help"},
          {"--version"},
          {"tokenize", "-m", kModel, "-p", "some text"}}) {
      run.arguments = arguments;
      expect_error(run_hearth(run), kFailed, {"standard output cannot be written"});
    }
  }
}

TEST(Streams, ClosedOnesAreNotTakenByFiles) {
  const std::string path = temporary_path("closed.npy"), expected = temporary_path("open.npy");
  CommandRun run{.arguments = {"logits", "-m", kModel, "-p", "abc", "-o", expected},
                 .input = {},
                 .environment = {}};
  ASSERT_EQ(run_hearth(run).exit_code, 0);
  run.arguments.back() = path;
  run.prepare = [] { close(STDIN_FILENO), close(STDERR_FILENO); };
  EXPECT_EQ(run_hearth(run).exit_code, 0);
  EXPECT_EQ(read_file(path), read_file(expected));
}

TEST(Streams, MessagesThatCannotBeWrittenAreNoCrash) {
  CommandRun run = short_run();
  run.prepare = [] { dup2(open("/dev/full", O_WRONLY), STDERR_FILENO); };
  EXPECT_EQ(run_hearth(run).exit_code, kFailed);
  run.arguments = {"run", "--nonsense"};
  EXPECT_EQ(run_hearth(run).exit_code, kMisused);
}

TEST(Streams, NoEscapesWhereThereIsNoTerminal) {
  for (const char* term : {"xterm-256color", "dumb"}) {
    CommandRun run = short_run();
    run.arguments.pop_back();  // with the report
    run.environment = {{"TERM", term}, {"NO_COLOR", "1"}, {"LC_ALL", "C.UTF-8"}};
    const CommandResult result = run_hearth(run);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_NE(result.errors.find("logits "), std::string::npos) << result.errors;
    for (const char control : {'\x1b', '\r', '\b'}) {
      EXPECT_EQ(result.output.find(control), std::string::npos);
      EXPECT_EQ(result.errors.find(control), std::string::npos);
    }
  }
}

// ---- While it runs

TEST(WhileItRuns, AnInterruptEndsAfterTheToken) {
  CommandRun run = long_run(kModel);
  run.arguments.pop_back();  // with the report
  run.meanwhile = [](pid_t child) {
    wait_for_output();
    kill(child, SIGINT);
  };
  const CommandResult result = run_hearth(run);
  EXPECT_EQ(result.exit_code, 130) << result.errors;
  EXPECT_EQ(result.output.back(), '\n');
  EXPECT_NE(result.errors.find("logits "), std::string::npos) << result.errors;
  EXPECT_EQ(result.errors.find("error"), std::string::npos) << result.errors;
  const std::string text =
      result.output.substr(0, std::min<std::size_t>(result.output.size() - 1, 8));
  EXPECT_EQ(text, right_text().substr(0, text.size()));
}

// A pipe for a profile keeps it loading for as long as the test likes.
TEST(WhileItRuns, CtrlCEndsLoadingAtOnce) {
  for (const char* subcommand : {"run", "chat", "bench"}) {
    const std::string pipe = temporary_path(std::string("pipe-") + subcommand);
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    CommandRun run;
    run.arguments = {subcommand, "-m", kModel, "--profile", pipe};
    if (run.arguments[0] == "run") run.arguments.insert(run.arguments.end(), {"-p", "a"});
    run.prepare = [] { signal(SIGINT, SIG_DFL); };  // a shell's background ignores it
    run.meanwhile = [&](pid_t child) {
      const int writer = open(pipe.c_str(), O_WRONLY);  // returns when it is opened to be read
      kill(child, SIGINT);
      siginfo_t ended{};
      for (int i = 0; i < 5000 && ended.si_pid == 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT);
      }
      close(writer);
    };
    EXPECT_EQ(run_hearth(run).exit_code, 130) << subcommand;
  }
}

TEST(WhileItRuns, ATruncatedFileIsAnError) {
  for (const char* io : {"pread", "auto"}) {
    const std::string model = temporary_path("truncated.gguf");
    std::filesystem::copy_file(kModel, model, std::filesystem::copy_options::overwrite_existing);
    CommandRun run = long_run(model);
    run.arguments.insert(run.arguments.end(), {"--io", io});
    run.meanwhile = [&](pid_t) {
      wait_for_output();
      std::filesystem::resize_file(model, 4096);
    };
    expect_error(run_hearth(run), kFailed,
                 {model, "became shorter while expert ", " of layer ", "restore it"},
                 Before::kReport);
  }
}

TEST(WhileItRuns, ARemovedFileStaysReadable) {
  const std::string model = temporary_path("removed.gguf");
  std::filesystem::copy_file(kModel, model);
  CommandRun run = short_run(model);
  run.arguments[6] = "300";
  run.arguments.push_back("--ignore-eos");
  run.meanwhile = [&](pid_t) {
    wait_for_output();
    std::filesystem::remove(model);
  };
  const CommandResult result = run_hearth(run);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  run.meanwhile = nullptr;
  run.arguments[2] = kModel;
  EXPECT_EQ(result.output, run_hearth(run).output);
}

}  // namespace
}  // namespace hearth::tools::testing
