// hearth chat: a conversation, turn by turn.
#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/small_file.h"
#include "runtime/chat/chat_template.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/conversation.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/line_reader.h"
#include "tools/hearth/prompt_text.h"
#include "tools/hearth/sampling_flags.h"
#include "tools/hearth/subcommands.h"
#include "tools/hearth/text_stream.h"

namespace hearth::tools {
namespace {

struct ChatFlags {
  EngineFlags engine;
  SamplingFlags sampling;
  std::string system;
  std::string chat_template;
  std::string reasoning = "auto";
  std::int64_t predict = -1;
};

bool parse(const Arguments& arguments, ChatFlags& o) {
  CommandLine line("chat", "Talk with a model, turn by turn.");
  o.engine.add_to(line);
  line.group("Conversation");
  line.add({.names = "--system-prompt,--system",
            .value = "TEXT",
            .help = "what the model is told before the first message"},
           o.system);
  line.add({.names = "--chat-template",
            .value = "FILE|NAME",
            .help = fmt::format("a Jinja template instead of the model's own: a variant in the "
                                "model file, {}, or a file",
                                runtime::builtin_chat_templates())},
           o.chat_template);
  line.add({.names = "--reasoning",
            .value = "on|off|auto",
            .help = "whether the template asks for thinking (auto: as it has it)",
            .choices = {"on", "off", "auto"}},
           o.reasoning);
  line.add({.names = "-n,--n-predict",
            .value = "N",
            .help = "tokens of a reply (-1: until its end or the context is full)"},
           o.predict);
  o.sampling.add_to(line);
  if (!line.parse(arguments)) return false;
  if (o.predict < -1)
    throw_error(ErrorCode::kUsage, "--n-predict is {}; give -1 or more", o.predict);
  o.sampling.check();
  return true;
}

void note_reasoning(const ChatFlags& o, const std::string& source) {
  if (o.reasoning == "auto" || source.find("enable_thinking") != source.npos) return;
  fmt::print(stderr,
             "note      --reasoning {} has no effect: the chat template never asks for it "
             "(enable_thinking)\n",
             o.reasoning);
}

runtime::ChatTemplate template_of(const ChatFlags& o, const runtime::Engine& engine) {
  const std::string& name = o.chat_template;
  const auto use = [&](const std::string& source, const std::string& called) {
    note_reasoning(o, source);
    return runtime::ChatTemplate(engine.tokenizer(), source, called);
  };
  if (const auto source = runtime::find_chat_template(engine.file().metadata(), name))
    return use(*source, name.empty() ? o.engine.model : name);
  if (!name.empty()) return use(read_text(name), name);
  throw_error(ErrorCode::kBadInput,
              "{}: the file has no chat template; give one with --chat-template: a file, or one of "
              "{}",
              printable(o.engine.model, 400), runtime::builtin_chat_templates());
}

ConversationOptions options_of(const ChatFlags& o) {
  ConversationOptions options{
      .system = o.system, .chat = {}, .sampler = o.sampling.options(), .predict = o.predict};
  if (o.reasoning != "auto") options.chat.enable_thinking = o.reasoning == "on";
  return options;
}

std::string transcript(const std::vector<runtime::ChatMessage>& messages) {
  std::string text;
  for (const runtime::ChatMessage& message : messages)
    text += fmt::format("{}: {}\n\n", message.role, message.content);
  return text;
}

std::string transcript_json(const std::vector<runtime::ChatMessage>& messages) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const runtime::ChatMessage& message : messages) {
    nlohmann::ordered_json one = {{"role", message.role}, {"content", message.content}};
    if (!message.reasoning.empty()) one["reasoning_content"] = message.reasoning;
    list.push_back(std::move(one));
  }
  const nlohmann::ordered_json all = {{"messages", std::move(list)}};
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// Replies as they come; thinking is dimmed where there is colour.
class ReplyOutput {
 public:
  explicit ReplyOutput(bool colour) : colour_(colour), text_(terminal_) {}

  void show(std::string_view text, bool thinking) {
    dim(thinking);
    text_.add(text);
  }
  void finish() {
    dim(false);
    text_.finish();
  }

 private:
  void dim(bool wanted) {
    if (!colour_ || dimmed_ == wanted) return;
    text_.add(wanted ? "\x1b[2m" : "\x1b[22m");
    dimmed_ = wanted;
  }

  const bool colour_;
  bool dimmed_ = false;
  LiveStatus terminal_;
  TextStream text_;
};

class Chat {
 public:
  Chat(Conversation& conversation, InterruptGuard& interrupt)
      : conversation_(conversation), interrupt_(interrupt), lines_(words()) {}

  // Until /exit, the end of the input or a signal.
  void run() {
    if (lines_.interactive())
      fmt::print(stderr, "/help says what there is; Ctrl-C stops a reply, Ctrl-D leaves\n");
    while (!done_) {
      const auto line = next_line();
      if (!line) break;
      if (lines_.interactive())
        take_or_explain(*line);
      else
        take(*line);
    }
  }

 private:
  struct Command {
    std::string_view name;
    std::string_view argument;
    std::string_view help;
    void (Chat::*run)(const std::string& argument);
  };
  static const std::array<Command, 7> kCommands;

  static std::vector<std::string> words() {
    std::vector<std::string> names;
    for (const Command& command : kCommands) names.emplace_back(command.name);
    return names;
  }

  std::optional<std::string> next_line() {
    interrupt_.leave_at_the_next();
    auto line = lines_.read("> ");
    interrupt_.clear();
    if (!line && lines_.interactive()) fmt::print("\n");
    return line;
  }

  // A person can do something about an error; a pipe cannot.
  void take_or_explain(const std::string& line) {
    try {
      take(line);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kDevice) throw;  // it answers nothing any more
      fmt::print(stderr, "{}\n", printable(error.what(), 2000));
    }
  }

  void take(const std::string& line) {
    if (line.empty()) return;
    if (line[0] != '/') return say(line);
    if (line.starts_with("//")) return say(line.substr(1));
    const std::size_t end = line.find(' ');
    const std::string name = line.substr(0, end);
    const std::size_t begin = line.find_first_not_of(' ', std::min(end, line.size()));
    std::string argument = begin == std::string::npos ? "" : line.substr(begin);
    argument.erase(argument.find_last_not_of(' ') + 1);
    for (const Command& command : kCommands)
      if (command.name == name) return start(command, argument);
    throw_error(ErrorCode::kBadInput,
                "there is no command {}; /help says what there is, and // begins a message with /",
                printable(name));
  }

  void start(const Command& command, const std::string& argument) {
    if (command.argument.empty() != argument.empty())
      throw_error(ErrorCode::kBadInput, "{} takes {}", command.name,
                  command.argument.empty() ? "nothing after it" : command.argument);
    (this->*command.run)(argument);
  }

  void say(const std::string& text) {
    const TurnEnd end =
        answer([&](const Conversation::Show& show, const std::function<bool()>& stopped) {
          return conversation_.say(text, show, stopped);
        });
    if (end == TurnEnd::kUnread)
      fmt::print(stderr, "stopped before the reply; the message is forgotten\n");
  }

  template <typename Reply>
  TurnEnd answer(Reply reply) {
    ReplyOutput output(terminal_of(stdout).colour);
    const TurnEnd end =
        reply([&](std::string_view text, bool thinking) { output.show(text, thinking); },
              [&] { return interrupt_.interrupted(); });
    output.finish();
    if (end == TurnEnd::kContextFull)
      fmt::print(stderr, "stopped: the context of {} tokens is full; raise --ctx-size, or /clear\n",
                 conversation_.session().context());
    if (interrupt_.must_end() || !lines_.interactive()) interrupt_.throw_if_interrupted();
    interrupt_.clear();
    return end;
  }

  void help(const std::string&) {
    for (const Command& command : kCommands)
      fmt::print(stderr, "  {:<14} {}\n", fmt::format("{} {}", command.name, command.argument),
                 command.help);
    fmt::print(stderr, "  {:<14} say something that begins with /\n", "//TEXT");
  }
  void regenerate(const std::string&) {
    if (!conversation_.forget_reply())
      throw_error(ErrorCode::kBadInput, "there is no reply to make again; say something first");
    answer([&](const Conversation::Show& show, const std::function<bool()>& stopped) {
      return conversation_.reply(show, stopped);
    });
  }
  void clear(const std::string&) { conversation_.clear(); }
  void read(const std::string& path) { say(read_text(path)); }
  void save(const std::string& path) {
    const auto& messages = conversation_.messages();
    const bool json = std::filesystem::path(path).extension() == ".json";
    replace_file(path, json ? transcript_json(messages) : transcript(messages));
    fmt::print(stderr, "saved {} messages in {}\n", messages.size(), printable(path, 400));
  }
  void statistics(const std::string&);
  void leave(const std::string&) { done_ = true; }

  Conversation& conversation_;
  InterruptGuard& interrupt_;
  LineReader lines_;
  bool done_ = false;
};

constexpr std::array<Chat::Command, 7> Chat::kCommands = {{
    {"/help", "", "this list", &Chat::help},
    {"/regen", "", "the last reply again, drawn anew", &Chat::regenerate},
    {"/clear", "", "forget the conversation, but for the system prompt", &Chat::clear},
    {"/read", "FILE", "say what is in a file", &Chat::read},
    {"/save", "FILE", "write the conversation, as JSON where the name ends in .json", &Chat::save},
    {"/stats", "", "tokens, speed and experts of the last reply", &Chat::statistics},
    {"/exit", "", "leave", &Chat::leave},
}};

void Chat::statistics(const std::string&) {
  const TurnFigures& f = conversation_.figures();
  const double decode = seconds(f.end.now - f.begin.now);
  const std::uint64_t hits = f.end.hits - f.begin.hits, misses = f.end.misses - f.begin.misses;
  fmt::print(stderr, "context   {} of {} positions\n", conversation_.session().position(),
             conversation_.session().context());
  fmt::print(stderr, "prompt    {} tokens, {} of them new, in {:.2f} s\n", f.prompt_tokens,
             f.read_tokens, seconds(f.prefill));
  fmt::print(stderr, "reply     {} tokens, {:.2f} tok/s\n", f.generated_tokens,
             decode > 0 ? f.generated_tokens / decode : 0.0);
  fmt::print(stderr, "experts   {:.1f} % in memory, {:.1f} MB/token read\n",
             hits + misses > 0
                 ? 100.0 * static_cast<double>(hits) / static_cast<double>(hits + misses)
                 : 0.0,
             static_cast<double>((f.end.read - f.begin.read).count) / 1e6 /
                 std::max(f.generated_tokens, 1u));
}

}  // namespace

int chat(const Arguments& arguments) {
  ChatFlags flags;
  if (!parse(arguments, flags)) return 0;
  const auto engine = flags.engine.open();
  InterruptGuard interrupt;  // until here there is nothing to finish
  const runtime::ChatTemplate chat_template = template_of(flags, *engine);
  Conversation conversation(*engine, chat_template, options_of(flags));
  Chat(conversation, interrupt).run();
  return 0;
}

}  // namespace hearth::tools
