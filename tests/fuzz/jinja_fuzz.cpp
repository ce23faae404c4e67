// Any template ends soon, with text or with one line that says why not.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "runtime/jinja/template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth::runtime::jinja;
  const auto message = [](const char* role, const char* content) {
    return Value::mapping({{Value::text("role"), Value::text(role)},
                           {Value::text("content"), Value::text(Text::given(content))}});
  };
  static const Variables variables = {
      {"messages", Value::list({message("system", "s"), message("user", " u <|im_end|>\n")})},
      {"add_generation_prompt", Value::boolean(true)},
      {"tools", Value::none()},
      {"bos_token", Value::text("<s>")}};
  try {
    const Template chat(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    const Text text = chat.render(variables, {.work = 2'000'000, .output_bytes = 1 << 18});
    if (!text.marks().empty() && text.marks().size() != text.size()) std::abort();
  } catch (const hearth::Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
