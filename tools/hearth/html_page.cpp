#include "tools/hearth/html_page.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/embedded_file.h"

namespace hearth {

std::span<const EmbeddedFile> page_assets();  // tools/CMakeLists.txt

namespace tools {
namespace {

// In JSON a < is always within a string; written like this it cannot end the element it is in.
std::string without_tags(std::string_view json) {
  std::string text;
  for (const char c : json) {
    if (c == '<')
      text += "\\u003c";
    else
      text += c;
  }
  return text;
}

// What stands for "style page.css", "script chart.js" or "data".
std::string replacement(std::string_view mark, std::string_view json) {
  if (mark == "data")
    return fmt::format("<script type=\"application/json\" id=\"data\">{}</script>",
                       without_tags(json));
  const std::size_t space = mark.find(' ');
  CHECK(space != mark.npos);
  const std::string_view kind = mark.substr(0, space);
  CHECK(kind == "style" || kind == "script");
  return fmt::format("<{}>\n{}</{}>", kind, embedded_content(page_assets(), mark.substr(space + 1)),
                     kind);
}

}  // namespace

std::string html_page(std::string_view name, std::string_view json) {
  std::string_view rest = embedded_content(page_assets(), name);
  std::string page;
  for (std::size_t begin; (begin = rest.find("{{")) != rest.npos;) {
    const std::size_t end = rest.find("}}", begin);
    CHECK(end != rest.npos);
    page += rest.substr(0, begin);
    page += replacement(rest.substr(begin + 2, end - begin - 2), json);
    rest.remove_prefix(end + 2);
  }
  page += rest;
  return page;
}

}  // namespace tools
}  // namespace hearth
