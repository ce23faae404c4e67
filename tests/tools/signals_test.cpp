// Signals: what ends early ends with what it had to keep, and with the exit code of the signal.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"
#include "tests/tools/support/terminal.h"

namespace hearth::tools::testing {
namespace {

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

// Thousands of tokens into a session.
CommandRun long_run(const std::string& session) {
  return {.arguments = {"run", "-m", kModel, "-p", "Once upon a time", "-n", "4000", "-c", "4096",
                        "--temp", "0", "--ignore-eos", "--no-report", "--session", session},
          .environment = {{"TERM", "xterm"}}};
}

// A prompt that takes many seconds to read.
CommandRun long_prompt(const std::string& session) {
  CommandRun run = long_run(session);
  std::string text;
  for (int i = 0; i < 1500; ++i) text += "a fox ";
  run.arguments[4] = text;
  run.environment.emplace_back("HEARTH_CPU", "scalar");
  return run;
}

// It goes on with the text that one run without an end would have had.
void expect_kept(const std::string& session, const std::string& said) {
  ASSERT_TRUE(std::filesystem::exists(session));
  const auto text_of = [](CommandRun run) {
    const CommandResult result = run_hearth(run);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return result.output;
  };
  CommandRun on = long_run(session);
  on.arguments.erase(on.arguments.begin() + 3, on.arguments.begin() + 5);  // the prompt
  on.arguments[4] = "8";
  const std::string more = text_of(on);
  CommandRun whole = long_run(session);
  whole.arguments.resize(whole.arguments.size() - 2);
  whole.arguments[6] = "600";
  const std::string all = text_of(whole);
  const std::string begun = said.substr(0, said.find_last_not_of('\n') + 1);
  EXPECT_EQ(all.substr(0, begun.size()), begun);
  EXPECT_NE(all.find(more.substr(0, more.size() - 1)), std::string::npos) << more;
}

TEST(Signals, ASessionIsKept) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const std::string session = temporary_path("session-" + std::to_string(signal));
    CommandRun run = long_run(session);
    run.meanwhile = [signal](pid_t child) {
      wait_for_output();
      kill(child, signal);
    };
    const CommandResult result = run_hearth(run);
    EXPECT_EQ(result.exit_code, 128 + signal) << result.errors;
    EXPECT_EQ(result.errors.find("error"), std::string::npos) << result.errors;
    expect_kept(session, result.output);
  }
}

TEST(Signals, ASessionOutlivesItsTerminal) {
  for (const bool ignored : {false, true}) {
    const std::string session = temporary_path("session-of-terminal");
    std::filesystem::remove(session);
    Terminal terminal;
    CommandRun run = long_run(session);
    run.prepare = [&] {
      terminal.become();
      signal(SIGHUP, ignored ? SIG_IGN : SIG_DFL);
    };
    run.meanwhile = [&](pid_t) {
      EXPECT_TRUE(terminal.shows("tok/s")) << terminal.shown();
      terminal.hang_up();
    };
    EXPECT_EQ(run_hearth(run).exit_code, ignored ? kFailed : 128 + SIGHUP) << terminal.shown();
    expect_kept(session, "");
  }
}

TEST(Signals, WhatTheCallerIgnoresIsIgnored) {
  CommandRun run = long_run(temporary_path("session-of-nohup"));
  run.prepare = [] { signal(SIGHUP, SIG_IGN); };
  run.meanwhile = [](pid_t child) {
    wait_for_output();
    kill(child, SIGHUP);
    const std::size_t before = output_so_far().size();
    for (int i = 0; i < 6000 && output_so_far().size() < before + 100; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_GE(output_so_far().size(), before + 100);
    kill(child, SIGTERM);
  };
  EXPECT_EQ(run_hearth(run).exit_code, 128 + SIGTERM);
}

TEST(Signals, AReaderThatLeavesIsNoError) {
  const std::string session = temporary_path("session-of-pipe");
  CommandRun run = long_run(session);
  for (const bool ignored : {false, true}) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    run.prepare = [&] {
      signal(SIGPIPE, ignored ? SIG_IGN : SIG_DFL);
      dup2(ends[1], STDOUT_FILENO);
    };
    std::string said(40, ' ');
    run.meanwhile = [&](pid_t) {
      close(ends[1]);
      std::size_t size = 0;
      while (size < said.size()) {
        const ssize_t more = read(ends[0], said.data() + size, said.size() - size);
        ASSERT_GT(more, 0);
        size += static_cast<std::size_t>(more);
      }
      close(ends[0]);
    };
    std::filesystem::remove(session);
    const CommandResult result = run_hearth(run);
    if (ignored) {
      expect_error(result, kFailed, {"standard output cannot be written"}, Before::kReport);
    } else {
      EXPECT_EQ(result.exit_code, 128 + SIGPIPE) << result.errors;
      EXPECT_EQ(result.errors.find("error"), std::string::npos) << result.errors;
    }
    expect_kept(session, said);
  }
  // Others have nothing to keep, or notice at their end.
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"inspect", "-m", kModel, "--tensors"},
        {"bench", "-m", kModel, "-p", "8", "-n", "2", "-r", "1"}}) {
    CommandRun other{.arguments = arguments};
    other.prepare = [] {
      int ends[2];
      if (pipe(ends) != 0) _exit(126);
      close(ends[0]);
      dup2(ends[1], STDOUT_FILENO);
      signal(SIGPIPE, SIG_DFL);
    };
    const CommandResult result = run_hearth(other);
    EXPECT_EQ(result.exit_code, 128 + SIGPIPE) << arguments[0];
    EXPECT_EQ(result.errors.find("error"), std::string::npos) << result.errors;
  }
}

TEST(Signals, EndARunInTheMiddleOfItsPrompt) {
  const std::string session = temporary_path("session-of-prompt");
  Terminal terminal;
  CommandRun run = long_prompt(session);
  run.prepare = [&] { terminal.become(); };
  run.meanwhile = [&](pid_t) {
    EXPECT_TRUE(terminal.shows("reading ")) << terminal.shown();
    terminal.type("\x03");
  };
  EXPECT_EQ(run_hearth(run).exit_code, 128 + SIGINT);
  EXPECT_FALSE(std::filesystem::exists(session));
}

// Ctrl-C gives up a message that takes long to read, and the conversation goes on without it.
TEST(Signals, AConversationGoesOnWithoutAMessage) {
  const std::string message = temporary_path("message.txt"), saved = temporary_path("saved.json");
  write_file(message, long_prompt("").arguments[4]);
  Terminal terminal;
  CommandRun run{.arguments = {"chat", "-m", kModel, "--temp", "0", "-n", "12", "-c", "8192"},
                 .environment = {{"TERM", "xterm"}, {"HEARTH_CPU", "scalar"}}};
  run.prepare = [&] { terminal.become(); };
  run.meanwhile = [&](pid_t) {
    EXPECT_TRUE(terminal.shows("> "));
    terminal.type("What is the capital of Japan?\n");
    EXPECT_TRUE(terminal.shows("Tokyo")) << terminal.shown();
    EXPECT_TRUE(terminal.shows("> "));
    terminal.type("/read " + message + "\n");
    EXPECT_TRUE(terminal.shows("reading ")) << terminal.shown();
    terminal.type("\x03");
    EXPECT_TRUE(terminal.shows("the message is forgotten")) << terminal.shown();
    EXPECT_TRUE(terminal.shows("> "));
    terminal.type("/regen\n");
    EXPECT_TRUE(terminal.shows("Tokyo")) << terminal.shown();
    EXPECT_TRUE(terminal.shows("> "));
    terminal.type("/save " + saved + "\n");
    EXPECT_TRUE(terminal.shows("saved 2 messages")) << terminal.shown();
    terminal.type("/exit\n");
  };
  EXPECT_EQ(run_hearth(run).exit_code, 0) << terminal.shown();
}

TEST(Signals, EndAConversation) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    for (const bool replies : {false, true}) {
      Terminal terminal;
      CommandRun run{.arguments = {"chat", "-m", kModel}, .environment = {{"TERM", "xterm"}}};
      run.prepare = [&] { terminal.become(); };
      run.meanwhile = [&](pid_t child) {
        EXPECT_TRUE(terminal.shows("> "));
        if (replies) {
          terminal.type("Tell me a story.\n");
          EXPECT_TRUE(terminal.shows("\n")) << terminal.shown();
        } else {  // the line is edited, which changes the terminal
          for (int i = 0; i < 6000 && terminal.echoes_lines(); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
        kill(child, signal);
      };
      EXPECT_EQ(run_hearth(run).exit_code, 128 + signal) << terminal.shown();
      EXPECT_TRUE(terminal.echoes_lines()) << signal << ", while it replies: " << replies;
    }
  }
}

}  // namespace
}  // namespace hearth::tools::testing
