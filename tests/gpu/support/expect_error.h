// A call that is to fail.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace hearth {

// With an error of that code; its message.
template <typename Call>
std::string expect_error(ErrorCode code, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing failed";
  return {};
}

}  // namespace hearth
