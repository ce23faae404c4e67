// hearth chat: with a pipe, and on a pseudo-terminal.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"
#include "tests/tools/support/terminal.h"

namespace hearth::tools {
namespace {

using namespace testing;

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

CommandResult chat(const std::string& input, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"chat", "-m", kModel, "--temp", "0", "-n", "12"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_hearth({.arguments = arguments, .input = input});
}

TEST(Chat, EachLineGetsAReply) {
  const auto both = chat("What is the capital of Japan?\nAnd of France?\n");
  EXPECT_EQ(both.exit_code, 0) << both.errors;
  const auto one = chat("What is the capital of Japan?\n");
  EXPECT_NE(one.output.find("Tokyo"), std::string::npos) << one.output;
  EXPECT_TRUE(both.output.starts_with(one.output));
  EXPECT_GT(both.output.size(), one.output.size());
}

// What the session keeps of the turns before does not change the answer.
TEST(Chat, ATurnIsAnsweredAsIfTheConversationWereReadAnew) {
  const std::string saved = temporary_path("turns.json");
  const auto kept = chat("What is the capital of Japan?\nAnd of France?\n/save " + saved + "\n");
  ASSERT_EQ(kept.exit_code, 0) << kept.errors;
  const auto messages = nlohmann::json::parse(read_file(saved))["messages"];
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[1]["role"], "assistant");
  EXPECT_EQ(kept.output, messages[1]["content"].get<std::string>() + "\n" +
                             messages[3]["content"].get<std::string>() + "\n");

  // The same conversation, written out as the prompt of a run.
  std::string prompt;
  for (std::size_t i = 0; i < 3; ++i)
    prompt += "<|im_start|>" + messages[i]["role"].get<std::string>() + "\n" +
              messages[i]["content"].get<std::string>() + "<|im_end|>\n";
  prompt += "<|im_start|>assistant\n";
  const auto anew =
      run_hearth({.arguments = {"run", "-m", kModel, "--temp", "0", "-n", "12", "--no-report"},
                  .input = prompt});
  EXPECT_EQ(anew.output, messages[3]["content"].get<std::string>() + "\n") << anew.errors;
}

TEST(Chat, RegenAndClearGoBack) {
  const std::string line = "What is the capital of Japan?\n";
  const auto once = chat(line);
  const auto again = chat(line + "/regen\n/clear\n" + line + "/stats\n");
  EXPECT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_EQ(again.output, once.output + once.output + once.output);
  EXPECT_NE(again.errors.find("tok/s"), std::string::npos);
}

TEST(Chat, ControlTokensInAMessageAreText) {
  const auto result = chat("a<|im_end|>b\n/stats\n");
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  const auto plain = chat("ab\n/stats\n");
  // As text the mark takes many tokens, as a control token it would take one.
  const auto tokens = [](const CommandResult& r) {
    return std::stoi(r.errors.substr(r.errors.find("prompt    ") + 10));
  };
  EXPECT_GT(tokens(result), tokens(plain) + 3);
}

TEST(Chat, ATemplateThatKnowsNoThinkingIsSaid) {
  const std::string knowing = temporary_path("knowing.jinja");
  write_file(knowing, "{% if enable_thinking %}think{% endif %}{{ messages[0]['content'] }}");
  const auto errors = [](std::vector<std::string> more) {
    return chat("", std::move(more)).errors;
  };
  const std::string note = "note      --reasoning off has no effect";
  EXPECT_NE(errors({"--reasoning", "off", "--chat-template", "chatml"}).find(note),
            std::string::npos);
  EXPECT_EQ(errors({"--reasoning", "off", "--chat-template", knowing}).find(note),
            std::string::npos);
  EXPECT_EQ(errors({"--chat-template", "chatml"}).find("has no effect"), std::string::npos);
}

TEST(Chat, FilesAreReadAndWritten) {
  const std::string message = temporary_path("message.txt"), saved = temporary_path("all.txt");
  write_file(message, "Tell me a story.\nA short one.");
  const auto result =
      chat("/read " + message + "\n/save " + saved + "\n", {"--system", "Be kind."});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(read_file(saved).starts_with(
      "system: Be kind.\n\nuser: Tell me a story.\nA short one.\n\nassistant: "));
}

TEST(Chat, TwoSlashesBeginAMessageWithOne) {
  const std::string saved = temporary_path("slash.json");
  const auto result = chat("//usr/bin is what?\n/help\n/save " + saved + "\n");
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_NE(result.errors.find("//TEXT"), std::string::npos) << result.errors;
  EXPECT_EQ(nlohmann::json::parse(read_file(saved))["messages"][0]["content"], "/usr/bin is what?");
}

TEST(Chat, AMistakeInAPipeEndsIt) {
  for (const auto& [input, expected] : std::initializer_list<std::pair<const char*, const char*>>{
           {"/nothing\n", "there is no command /nothing; /help says what there is"},
           {"/regen\n", "there is no reply to make again"},
           {"/save\n", "/save takes FILE"},
           {"/read /nowhere/at/all\n", "/nowhere/at/all: cannot be opened"}}) {
    const auto result = chat(input);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_NE(result.errors.find(expected), std::string::npos) << result.errors;
  }
}

TEST(Chat, TheTemplateCanBeReplaced) {
  const std::string path = temporary_path("own.jinja");
  write_file(path, "{{ raise_exception('not today') }}");
  const auto refused = chat("x\n", {"--chat-template", path});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.errors.find("own.jinja: line 1: the template refuses: not today"),
            std::string::npos)
      << refused.errors;
  write_file(path, "{% if %}");
  EXPECT_NE(
      chat("x\n", {"--chat-template", path}).errors.find("own.jinja: line 1: expected a value"),
      std::string::npos);
  EXPECT_EQ(chat("What is the capital of Japan?\n", {"--chat-template", "chatml"}).output,
            chat("What is the capital of Japan?\n").output);
}

TEST(Chat, ATemplateThatMakesNothingOfAConversationIsAnError) {
  const std::string empty = temporary_path("empty.jinja");
  for (const char* text : {"", "{% if messages|length > 9 %}never{% endif %}"}) {
    write_file(empty, text);
    expect_error(chat("Hello\n", {"--chat-template", empty}), kFailed,
                 {"makes nothing of this conversation", "--chat-template"}, Before::kReport);
  }
}

TEST(Chat, AConversationBeyondTheContextSaysSo) {
  const auto result = chat(std::string(4000, 'x') + "\n", {"-c", "64"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.errors.find("but the context is 64; /clear it, or raise --ctx-size"),
            std::string::npos)
      << result.errors;
}

CommandResult chat_on(Terminal& terminal, std::vector<std::string> more,
                      const std::function<void()>& talk, const char* no_color = "",
                      const char* locale = "C.UTF-8") {
  std::vector<std::string> arguments = {"chat", "-m", kModel, "--temp", "0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_hearth({.arguments = arguments,
                     .environment = {{"TERM", "xterm"}, {"LC_ALL", locale}, {"NO_COLOR", no_color}},
                     .prepare = [&] { terminal.become(); },
                     .meanwhile = [&](pid_t) { talk(); }});
}

TEST(Chat, ATerminalCompletesCommandsAndForgivesMistakes) {
  Terminal terminal;
  const auto result = chat_on(terminal, {"-n", "12"}, [&] {
    EXPECT_TRUE(terminal.shows("> ")) << terminal.shown();
    terminal.type("/nothing\n");
    EXPECT_TRUE(terminal.shows("there is no command /nothing")) << terminal.shown();
    EXPECT_TRUE(terminal.shows("> "));
    terminal.type("What is the capital of Japan?\n");
    EXPECT_TRUE(terminal.shows("Tokyo")) << terminal.shown();
    EXPECT_TRUE(terminal.shows("> "));
    terminal.type("/sta\t\n");
    EXPECT_TRUE(terminal.shows("positions")) << terminal.shown();
    EXPECT_TRUE(terminal.shows("> "));
    terminal.type("/exit\n");
  });
  EXPECT_EQ(result.exit_code, 0);
}

// Also in the locale of a container, or in one that is not installed.
TEST(Chat, LettersBeyondAsciiArriveInEveryLocale) {
  const std::string saved = temporary_path("letters.txt");
  for (const char* locale : {"C", "xx_XX.UTF-8"}) {
    Terminal terminal;
    const auto result = chat_on(
        terminal, {"-n", "2"},
        [&] {
          EXPECT_TRUE(terminal.shows("> ")) << terminal.shown();
          terminal.type("sch\u00f6n \u20ac\n");
          EXPECT_TRUE(terminal.shows("\n> ")) << terminal.shown();
          terminal.type("/save " + saved + "\n");
          EXPECT_TRUE(terminal.shows("saved 2 messages")) << terminal.shown();
          terminal.type("/exit\n");
        },
        "", locale);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_TRUE(read_file(saved).starts_with("user: sch\u00f6n \u20ac\n")) << read_file(saved);
  }
}

TEST(Chat, ThinkingIsDimmedWhereThereIsColour) {
  const std::string path = temporary_path("think.jinja");
  write_file(path, "{{ messages[0].content }}<think>");
  for (const bool colour : {true, false}) {
    Terminal terminal;
    const auto result = chat_on(
        terminal, {"-n", "4", "--chat-template", path},
        [&] {
          EXPECT_TRUE(terminal.shows("> ")) << terminal.shown();
          terminal.type("x\n");
          EXPECT_TRUE(terminal.shows("> ")) << terminal.shown();
          terminal.type("/exit\n");
        },
        colour ? "" : "1");
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(terminal.shown().find("\x1b[2m") != std::string::npos, colour) << terminal.shown();
  }
}

TEST(Chat, CtrlCStopsTheReplyAndThenLeaves) {
  const std::string path = temporary_path("prose.jinja");
  write_file(path, "{{ messages[0].content }}");  // greedily, prose goes on and on
  Terminal terminal;
  const auto result = chat_on(terminal, {"-c", "16384", "--chat-template", path}, [&] {
    EXPECT_TRUE(terminal.shows("> ")) << terminal.shown();
    terminal.type("It was a dark night, and the old man\n");
    EXPECT_TRUE(terminal.shows("old man")) << terminal.shown();
    EXPECT_TRUE(terminal.shows("a little")) << terminal.shown();
    terminal.type("\x03");
    EXPECT_TRUE(terminal.shows("> ")) << terminal.shown();
    EXPECT_EQ(terminal.shown().find("is full"), std::string::npos);
    terminal.type("\x03");
  });
  EXPECT_EQ(result.exit_code, 130) << terminal.shown();
  EXPECT_TRUE(terminal.echoes_lines());
}

}  // namespace
}  // namespace hearth::tools
