"""Problems that others wrote: GSM8K, MATH and files of their form, their answers and graphs."""
