// A conversation on standard input, a line a turn: chat MODEL.gguf [TEMPLATE]
#include <algorithm>
#include <hearth/hearth.hpp>
#include <iostream>
#include <string>
#include <vector>

namespace {

namespace api = hearth::api;

// The conversation is written anew by its template each turn; what the session read already stays.
void read(api::Session& session, const std::vector<std::int32_t>& tokens) {
  const auto known = session.tokens();
  const auto differ = std::mismatch(tokens.begin(), tokens.end() - 1, known.begin(), known.end());
  const auto same = static_cast<std::size_t>(differ.first - tokens.begin());
  try {
    session.rewind(same);
  } catch (const api::Error&) {
    session.rewind(0);  // which always can be
  }
  session.evaluate(
      {tokens.begin() + static_cast<std::ptrdiff_t>(session.tokens().size()), tokens.end()});
}

std::string reply(api::Session& session) {
  hearth_generation generation = {};
  generation.most_tokens = 256;
  generation.temperature = 0.8F;
  generation.top_p = 0.95F;
  std::string text;
  session.generate(generation, [&](std::int32_t, std::string_view piece) {
    std::cout << piece << std::flush;
    text += piece;
    return std::cout.good();
  });
  std::cout << '\n';
  return text;
}

int run(const std::string& model, const char* chat_template) {
  const api::Engine engine(model);
  api::Session session(engine);
  hearth_chat_options options = {};
  options.template_name = chat_template;
  std::vector<api::ChatMessage> messages;
  for (std::string line; std::getline(std::cin, line);) {
    messages.push_back({"user", line});
    read(session, engine.chat_prompt(messages, options));
    messages.push_back({"assistant", reply(session)});
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: chat MODEL.gguf [TEMPLATE]\n";
    return 2;
  }
  try {
    return run(argv[1], argc == 3 ? argv[2] : nullptr);
  } catch (const std::exception& error) {
    std::cerr << "chat: " << error.what() << '\n';
    return 1;
  }
}
