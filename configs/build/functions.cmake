# SPDX-License-Identifier: Apache-2.0
# hone_library(NAME SOURCES globs... [DEPS targets...]): one static library of ours, our warnings.
# hone_test(NAME LABEL label [DEPS targets...] SOURCES globs...): one test program.
# Sources are globs, so that no file and no test can be left out of the build.

set(HONE_WARNINGS -Wall -Wextra -Wshadow -Werror)

function(hone_options target)
  target_compile_options(${target} PRIVATE ${HONE_WARNINGS})
  if(HONE_FUZZ)
    target_compile_options(${target} PUBLIC -fsanitize=fuzzer-no-link,address -g1)
    target_link_options(${target} PUBLIC -fsanitize=address)
  endif()
  if(HONE_SANITIZE STREQUAL "address")
    target_compile_options(${target} PUBLIC -fsanitize=address,undefined -fno-omit-frame-pointer -g1)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  elseif(HONE_SANITIZE STREQUAL "thread")
    target_compile_options(${target} PUBLIC -fsanitize=thread -g1)
    target_link_options(${target} PUBLIC -fsanitize=thread)
  endif()
endfunction()

function(hone_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${ARG_SOURCES})
  if(sources)
    add_library(${name} STATIC ${sources})
    target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ARG_DEPS} absl::status absl::statusor absl::strings
                          absl::span absl::time absl::flat_hash_map absl::flat_hash_set
                          Threads::Threads)
    hone_options(${name})
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${ARG_DEPS} absl::status absl::statusor absl::strings
                          absl::span absl::time absl::flat_hash_map absl::flat_hash_set)
  endif()
endfunction()

function(hone_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${ARG_SOURCES})
  if(NOT sources)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE HONE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  hone_options(${name})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
endfunction()
